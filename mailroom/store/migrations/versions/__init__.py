"""The steps that bring a prediction log to the newest schema, run by Alembic."""
