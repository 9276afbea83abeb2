"""The tables of named resources and of their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from dtx_tasks.catalog.tables import SCHEMA

revision = "1"
down_revision = None


def upgrade() -> None:
    """Makes them."""
    op.create_table(
        "catalog_resources",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("team", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.UniqueConstraint("team", "kind", "name", name="catalog_resources_name"),
        schema=SCHEMA,
    )
    op.create_table(
        "catalog_versions",
        sa.Column("resource_id", sa.Integer(), sa.ForeignKey(f"{SCHEMA}.catalog_resources.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Removes them, with everything in them."""
    op.drop_table("catalog_versions", schema=SCHEMA)
    op.drop_table("catalog_resources", schema=SCHEMA)
