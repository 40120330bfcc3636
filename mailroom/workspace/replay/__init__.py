"""Labelled mail played as a stream through the real parts: know before you deploy."""
