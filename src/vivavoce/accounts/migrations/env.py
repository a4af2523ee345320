"""Run by Alembic, over the transaction that `Database.migrate` has begun."""

from alembic import context

from vivavoce.accounts.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
