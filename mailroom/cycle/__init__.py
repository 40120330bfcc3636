"""The learning loop: what people and the model said → a better model, or none."""
