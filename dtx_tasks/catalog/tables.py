"""The tables of the catalog, in a schema of their own: the database may be Airflow's."""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "dtx"
"""On PostgreSQL; SQLite has none."""

MIGRATIONS = "catalog_migrations"
"""The table that says which migrations were applied; Airflow's and MLflow's have another name."""


class Table(DeclarativeBase):
    """What the tables share."""

    metadata = MetaData(schema=SCHEMA)


class ResourceRow(Table):
    """A named resource; it stays when its versions are deleted, so that no number is given twice."""

    __tablename__ = "catalog_resources"
    __table_args__ = (UniqueConstraint("team", "kind", "name", name="catalog_resources_name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    team: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(100))
    last_number: Mapped[int] = mapped_column(default=0)


class VersionRow(Table):
    """A version of a resource; written once, never changed."""

    __tablename__ = "catalog_versions"

    resource_id: Mapped[int] = mapped_column(ForeignKey(ResourceRow.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    files: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(Float)
    author: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
