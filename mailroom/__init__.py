"""mailroom: exactly one label of a hierarchical, overlapping taxonomy on every email."""

__version__ = "0.1.0"
