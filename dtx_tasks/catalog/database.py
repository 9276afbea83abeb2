"""The database of the catalog: SQLite or PostgreSQL by one URL, its tables brought up to date on first use."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from dtx_tasks.catalog.tables import MIGRATIONS, SCHEMA
from dtx_tasks.errors import SpecError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

DRIVER = "postgresql+psycopg2"
"""SQLAlchemy takes a bare postgresql:// for psycopg 3, which is not installed."""

SQLITE_WAIT_S = 60
LOCK = 0x647478_01
"""Of PostgreSQL's advisory locks; any number that nobody else uses."""

FORMS = "Write sqlite:////absolute/path.db, or postgresql://USER:PASSWORD@HOST/DATABASE."


@contextmanager
def transaction(url: str, *, writes: bool = False) -> Iterator[Session]:
    """A session that is committed at the end, in a database whose tables are up to date.

    Args:
        url: Of the database.
        writes: Whether it will write: on SQLite it then waits for the one writer at its beginning, and cannot fail on the way.

    Raises:
        SpecError: The URL is wrong, or the database was made by a later version.
        TransientError: It cannot be reached, or does not answer.
    """
    with _failures_told(url), Session(_ready(url).execution_options(writes=writes), expire_on_commit=False) as session, session.begin():
        yield session


def upgrade(url: str) -> None:
    """Brings the tables of a database up to date; two processes at once do it one after the other.

    Args:
        url: Of the database.

    Raises:
        SpecError: The database was made by a later version of dtx.
        TransientError: It cannot be reached, or does not answer.
    """
    with _failures_told(url):
        _upgrade(_engine(_checked(url)))


@contextmanager
def _failures_told(url: str) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise TransientError(f"The catalog {_shown(url)} failed: {_said(error)}.", "Look at DTX_CATALOG_URL, and whether the database is up.") from error


@cache
def _ready(url: str) -> Engine:
    engine = _engine(_checked(url))
    _upgrade(engine)
    return engine


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SpecError("DTX_CATALOG_URL is no address of a database.", FORMS) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername=DRIVER)
    if parsed.get_backend_name() not in ("sqlite", "postgresql") or (parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:")):
        raise SpecError(f"DTX_CATALOG_URL: the catalog cannot be kept there (got {parsed.render_as_string()!r}).", FORMS)
    return parsed


def _engine(url: URL) -> Engine:
    """Without a pool: tasks fork, and a connection must not be shared between processes."""
    try:
        if url.get_backend_name() == "postgresql":
            return create_engine(url, poolclass=NullPool)
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": SQLITE_WAIT_S}, execution_options={"schema_translate_map": {SCHEMA: None}})
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise SpecError(
            f"The catalog {url.render_as_string()} needs a library that is not here: {error}.", "pip install 'dtx-tasks[airflow,postgres]'"
        ) from None
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin)
    return engine


def _leave_transactions_to_us(connection: Any, _record: Any) -> None:
    """Python's sqlite3 begins transactions late and ends them before DDL: neither may be."""
    connection.isolation_level = None


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _upgrade(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", "dtx_tasks.catalog:migrations")
    scripts = ScriptDirectory.from_config(config)
    if _revision(engine) == scripts.get_current_head():
        return
    with engine.execution_options(writes=True).begin() as connection:
        _take_turns(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SpecError(f"The catalog {_shown(str(engine.url))} was made by a later version of dtx: {error}", "Install that version.") from None


def _take_turns(connection: Connection) -> None:
    """Whoever comes second waits here, and then finds everything done; SQLite's one writer is that already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if not inspect(connection).has_schema(SCHEMA):
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))


def _revision(engine: Engine) -> str | None:
    """The last migration that was applied; None before the first."""
    schema = SCHEMA if engine.dialect.name == "postgresql" else None
    with engine.connect() as connection:
        if not inspect(connection).has_table(MIGRATIONS, schema=schema):
            return None
        found = connection.scalar(text(f"SELECT version_num FROM {f'{schema}.' if schema else ''}{MIGRATIONS}"))  # noqa: S608 - our own names
    return str(found) if found else None


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


def _said(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split()).rstrip(".?")
