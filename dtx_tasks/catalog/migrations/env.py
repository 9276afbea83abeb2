"""What Alembic runs: the connection comes from `dtx_tasks.catalog.database`, which holds the lock."""

from __future__ import annotations

from alembic import context

from dtx_tasks.catalog.tables import MIGRATIONS, SCHEMA, Table

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Table.metadata,
    version_table=MIGRATIONS,
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
    # SQLite can undo DDL; Alembic takes the contrary for granted.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
