"""What Alembic runs to migrate: the caller's connection, inside the caller's transaction."""

from alembic import context

from mailroom.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
