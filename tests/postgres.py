"""A PostgreSQL of Debian's package, for the time of a test or of a benchmark."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "Debian's postgresql is missing: apt-get install --no-install-recommends postgresql"


def postgres_programs() -> Path | None:
    """The folder of the newest one's programs; None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


@contextmanager
def postgres(*databases: str, max_connections: int = 100) -> Iterator[str]:
    """Runs a server on a free port of this machine.

    Args:
        databases: To make in it.
        max_connections: At a time.

    Returns:
        Its address for SQLAlchemy, without a database.
    """
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError(MISSING)
    # PostgreSQL refuses to run as root, and its user may not look into root's folders.
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    user = "postgres" if as_user else "dtx"
    with tempfile.TemporaryDirectory(prefix="dtx-postgres-") as name:
        folder = Path(name)
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        port = _free_port()
        _run(*as_user, programs / "initdb", "--auth", "trust", "--username", user, "--no-sync", "-D", folder / "data")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections={max_connections}"
        control = [*as_user, programs / "pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w"]
        _run(*control, "-o", options, "start")
        try:
            for database in databases:
                _run(*as_user, programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", user, database)
            yield f"postgresql+psycopg2://{user}@127.0.0.1:{port}"
        finally:
            subprocess.run([*control, "-m", "fast", "stop"], check=False, capture_output=True)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, cwd="/")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
