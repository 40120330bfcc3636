"""Predictions and true labels → figures."""
