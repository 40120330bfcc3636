"""Measurements that stand in docs/experiments.md; none of them is a test."""
