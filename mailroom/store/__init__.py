"""The prediction log and its database."""
