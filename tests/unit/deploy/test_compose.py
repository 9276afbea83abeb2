"""docker-compose.yaml: what can be known about it without a container."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from dtx_tasks import __version__

REPOSITORY = Path(__file__).resolve().parents[3]
TEXT = (REPOSITORY / "docker-compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
EXAMPLE = (REPOSITORY / ".env.example").read_text()

ONCE = {"airflow-init"}
UNASKABLE = {"otel-collector"}
"""Its image has nothing that a healthcheck could call."""

SECRET = re.compile(r"PASSWORD|SECRET|_KEY|SQL_ALCHEMY_CONN|STORE_URI|CATALOG_URL")
HARMLESS = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"}

AIRFLOW = ("airflow-init", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")


def example() -> dict[str, str]:
    """What .env.example sets."""
    return dict(line.split("=", 1) for line in EXAMPLE.splitlines() if line and not line.startswith("#"))


def environments() -> dict[tuple[str, str], str]:
    return {(service, name): value for service, entry in SERVICES.items() for name, value in entry.get("environment", {}).items()}


def code() -> str:
    return "".join(path.read_text() for folder in ("dtx_tasks", "container") for path in (REPOSITORY / folder).rglob("*.py"))


def test_services_are_those_of_the_platform() -> None:
    """LocalExecutor needs neither Celery's worker nor its broker."""
    assert set(SERVICES) == {"postgres", "s3", "mlflow", "otel-collector", *AIRFLOW}
    assert SERVICES["otel-collector"]["profiles"] == ["telemetry"]


def test_every_image_can_be_replaced() -> None:
    """By a variable, with a tagged default."""
    images = [entry["image"] for entry in SERVICES.values()]
    assert [image for image in images if not re.fullmatch(r"\$\{[A-Z0-9_]+_IMAGE:-[a-z./-]+[a-z0-9]+:v?[0-9][0-9.]*\}", image)] == []


def test_own_images_are_of_this_version() -> None:
    """As `container/build` tags them."""
    own = {entry["image"].partition(":-")[2].rstrip("}") for name, entry in SERVICES.items() if name in {*AIRFLOW, "mlflow"}}
    assert own == {f"dtx-airflow:{__version__}"}
    assert f"AIRFLOW_IMAGE=dtx-airflow:{__version__}\n" in (REPOSITORY / "container/all.Dockerfile").read_text()


def test_every_server_says_how_it_is() -> None:
    """All but what ends by itself."""
    assert {name for name, entry in SERVICES.items() if "healthcheck" not in entry} == ONCE | UNASKABLE


def test_nothing_is_started_before_what_it_needs() -> None:
    """The databases are healthy before the tables are made, and these are there before anything reads them."""
    assert SERVICES["airflow-init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}, "s3": {"condition": "service_healthy"}}
    after = [SERVICES[name]["depends_on"] for name in (*AIRFLOW[1:], "mlflow")]
    assert after == [{"airflow-init": {"condition": "service_completed_successfully"}}] * 5


def test_secrets_come_from_the_env_file() -> None:
    """None has a default in the file."""
    secrets = {key: value for key, value in environments().items() if SECRET.search(key[1]) and key[1] not in HARMLESS}
    assert len(secrets) > 20
    assert {key for key, value in secrets.items() if not re.search(r"\$\{DTX_[A-Z0-9_]+:\?", value)} == set()


def test_env_file_names_what_is_needed() -> None:
    """Each value that the file insists on, and no secret that could be taken for a real one."""
    assert set(re.findall(r"\$\{(DTX_\w+):\?", TEXT)) == {name for name in example() if name.startswith("DTX_")} - {"DTX_BACKEND"}
    assert {value for name, value in example().items() if SECRET.search(name) and name != "DTX_S3_ACCESS_KEY"} == {"CHANGE-ME"}


def test_command_of_the_env_file_makes_secrets(tmp_path: Path) -> None:
    """Different ones, that a URL and Fernet take."""
    (tmp_path / ".env.example").write_text(EXAMPLE)
    command = next(line.strip("# ") for line in EXAMPLE.splitlines() if "python3 -c" in line)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if line and not line.startswith("#"))
    secrets = [made[name] for name, value in example().items() if value == "CHANGE-ME"]
    assert len(set(secrets)) == len(secrets) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}=", secret) for secret in secrets)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_settings_are_known_to_the_code() -> None:
    """A misspelt DTX_ name would be ignored."""
    given = {name for _, name in environments() if name.startswith("DTX_")}
    assert given == {"DTX_BACKEND", "DTX_CATALOG_URL", "DTX_CONFIG", "DTX_ROOT", "DTX_MLFLOW_URL"}
    assert {name for name in given if not re.search(rf"\b{name}\b", code())} == set()


def test_parts_of_airflow_have_one_environment() -> None:
    """What one of them is told, all are told: keys and URLs must agree."""
    common = SERVICES["airflow-apiserver"]["environment"]
    assert [SERVICES[name]["environment"] for name in AIRFLOW[2:]] == [common] * 3
    assert SERVICES["airflow-init"]["environment"].items() >= common.items()


def test_databases_name_their_driver() -> None:
    """SQLAlchemy takes a bare postgresql:// for psycopg 3, which is not in the image."""
    urls = [value for (_, name), value in environments().items() if name.endswith(("SQL_ALCHEMY_CONN", "STORE_URI", "CATALOG_URL"))]
    assert {url.partition("://")[0] for url in urls} == {"postgresql+psycopg2"}


def test_ports_are_this_machines_own() -> None:
    """MLflow has no login, and Airflow's is one for a first try."""
    ports = [port for entry in SERVICES.values() for port in entry.get("ports", [])]
    assert len(ports) == 3
    assert all(re.match(r"127\.0\.0\.1:\$\{DTX_\w+_PORT:-\d+\}:", port) for port in ports)


def test_stand_ins_are_mounted_into_services_that_exist() -> None:
    """The override names no other ones."""
    override = yaml.safe_load((REPOSITORY / "container/compose/override.dev.yaml").read_text())
    assert set(override["services"]) == {*AIRFLOW, "mlflow"}
