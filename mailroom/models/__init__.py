"""The two encoders, how they are exported, and how a model version is kept and trusted."""
