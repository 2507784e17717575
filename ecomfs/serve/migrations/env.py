"""Runs migrations on the connection given by :func:`ecomfs.serve.tables.migrate`."""

from alembic import context

from ecomfs.serve.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
