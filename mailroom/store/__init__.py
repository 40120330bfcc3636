"""The prediction log: what was decided, from what, and when; in SQLite or PostgreSQL."""
