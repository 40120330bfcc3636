"""Labelled and classified mail → what may be trained on, and what must be kept for judging."""
