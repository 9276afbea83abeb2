"""docker-compose.yaml, read by the compose command that is installed here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / ".env.example"

COMMANDS = (["docker", "compose"], ["docker-compose"], ["podman-compose"], [str(REPOSITORY / "container/compose/engine"), "run", "docker-compose"])
"""The first of these that works here."""

pytestmark = pytest.mark.slow


def compose() -> list[str]:
    """The command that checks compose files, or a skip."""
    for command in COMMANDS:
        try:
            works = subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            continue
        if works:
            return command
    pytest.skip("neither docker compose nor podman-compose is installed")


def config(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `config` on the file, with nothing of this machine's own settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DTX_", "COMPOSE_"))}
    command = [*compose(), *arguments, "--file", "docker-compose.yaml", "config"]
    return subprocess.run(command, cwd=REPOSITORY, env=clean | environment, capture_output=True, text=True, check=False)


def test_compose_takes_the_file() -> None:
    """With the example's values; and resolves what is merged."""
    done = config("--env-file", str(EXAMPLE))
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["airflow-scheduler"]["environment"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://dtx:CHANGE-ME@postgres:5432/airflow"
    assert services["airflow-triggerer"]["image"] == "dtx-airflow:0.1.0"


def test_compose_refuses_a_missing_secret(tmp_path: Path) -> None:
    """And says which, and where to look."""
    short = tmp_path / "short.env"
    short.write_text(EXAMPLE.read_text().replace("DTX_FERNET_KEY=CHANGE-ME", ""))
    done = config("--env-file", str(short))
    assert done.returncode != 0
    assert "DTX_FERNET_KEY" in done.stderr
    assert "see .env.example" in done.stderr
