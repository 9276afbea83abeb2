"""The database of the catalog: where it may be, and how its tables come up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text

from dtx_tasks.catalog.database import transaction, upgrade
from dtx_tasks.catalog.tables import MIGRATIONS, SCHEMA, ResourceRow, Table
from dtx_tasks.errors import SpecError, TransientError


def schema(url: str) -> str | None:
    return None if url.startswith("sqlite") else SCHEMA


def tables(url: str) -> set[str]:
    return set(inspect(create_engine(url)).get_table_names(schema=schema(url)))


def test_empty_database_is_brought_up_to_date(url: str) -> None:
    """To all tables of this version; a second time changes nothing."""
    upgrade(url)
    assert tables(url) == {"catalog_resources", "catalog_versions", MIGRATIONS}
    upgrade(url)
    assert tables(url) == {"catalog_resources", "catalog_versions", MIGRATIONS}


def test_migrations_come_to_what_the_code_expects(server: str) -> None:
    """A table that was changed without a migration fails here."""
    url = f"{server}/postgres"
    upgrade(url)
    with create_engine(url).connect() as connection:
        options = {"include_schemas": True, "version_table": MIGRATIONS, "version_table_schema": SCHEMA}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Table.metadata) == []


def test_migrations_are_one_line() -> None:
    """Two heads would leave it to chance what is applied."""
    config = Config()
    config.set_main_option("script_location", "dtx_tasks.catalog:migrations")
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_tables_of_others_are_left_alone(url: str) -> None:
    """The database may be Airflow's: its own Alembic's table has another name and place."""
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('airflows')"))
    upgrade(url)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT version_num FROM alembic_version")).all() == ["airflows"]


def test_processes_that_migrate_at_once_all_succeed(url: str) -> None:
    """One does it, the others wait and find it done."""
    code = "import sys; from dtx_tasks.catalog.database import upgrade; print('ready', flush=True); sys.stdin.readline(); upgrade(sys.argv[1]); print('done')"
    processes = [subprocess.Popen([sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    assert [process.communicate("go\n", timeout=120)[0] for process in processes] == ["done\n"] * 4
    assert "catalog_versions" in tables(url)


def test_database_of_a_later_version_is_refused(url: str) -> None:
    """It is not written to by what does not understand it."""
    upgrade(url)
    place = f"{schema(url)}.{MIGRATIONS}" if schema(url) else MIGRATIONS
    with create_engine(url).begin() as connection:
        connection.execute(text(f"UPDATE {place} SET version_num = '9999'"))
    with pytest.raises(SpecError, match=r"was made by a later version of dtx: .* Install that version\."):
        upgrade(url)


def fail_halfway(url: str) -> None:
    with transaction(url, writes=True) as session:
        session.add(ResourceRow(team="t", kind="k", name="n"))
        session.flush()
        raise ZeroDivisionError


def test_what_fails_halfway_is_undone(url: str) -> None:
    """Nothing of a transaction that ends with an error is there."""
    with pytest.raises(ZeroDivisionError):
        fail_halfway(url)
    with transaction(url) as session:
        assert session.scalars(select(ResourceRow)).all() == []


@pytest.mark.parametrize("wrong", ["nonsense", "sqlite://", "sqlite:///:memory:", "mysql://root@db/dtx"])
def test_place_where_nothing_can_be_kept_is_refused(wrong: str) -> None:
    """With the two forms that are right."""
    with pytest.raises(SpecError, match=re.escape("Write sqlite:////absolute/path.db, or postgresql://USER:PASSWORD@HOST/DATABASE.")):
        upgrade(wrong)


def test_bare_postgresql_means_the_driver_that_is_installed(server: str) -> None:
    """One URL is enough: SQLAlchemy itself would look for psycopg 3."""
    upgrade(f"{server.replace('+psycopg2', '')}/postgres")
    assert "catalog_versions" in tables(f"{server}/postgres")


def test_server_that_is_away_is_told_without_its_password() -> None:
    """As something that may pass."""
    with pytest.raises(TransientError, match=r"The catalog postgresql://dtx:\*\*\*@127\.0\.0\.1:9/dtx failed: .* Look at DTX_CATALOG_URL"):
        upgrade("postgresql://dtx:secret@127.0.0.1:9/dtx")
