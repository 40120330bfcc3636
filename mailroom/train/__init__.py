"""Training: records → weights; the only package beside `models/export*.py` that may import torch."""
