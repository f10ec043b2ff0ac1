"""Run our revisions with Alembic: on the connection that migrate.py opened, in its transaction."""

from alembic import context

from pipeline.imageservice.catalog.database import tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    version_table="catalog_version",
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
