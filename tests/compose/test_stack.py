"""docker-compose.yaml, brought up: an experiment on PostgreSQL, S3 and MLflow, with stand-ins for the images."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from mlflow import MlflowClient

from dtx_tasks.stack.rest import Airflow
from tests.recipes.world import write_data
from tests.running import dtx, until

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
ENGINE = str(REPOSITORY / "container/compose/engine")
PROJECT = "dtx-test"
LEARNS = {"name": "learns", "finetuning_type": "full", "global_batch_size": 4, "learning_rate": 4e-3, "max_steps": 200, "logging_steps": 5}
SERVERS = ("postgres", "s3", "airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer", "mlflow")

pytestmark = [pytest.mark.slow, pytest.mark.process]


@dataclass(frozen=True)
class Compose:
    """The running services."""

    folder: Path
    values: dict[str, str]

    def compose(self, *arguments: str) -> str:
        """Runs a compose command on the project."""
        files = ("--file", "docker-compose.yaml", "--file", "container/compose/override.dev.yaml")
        return self.run("docker-compose", "--env-file", str(self.folder / ".env"), *files, *arguments)

    def run(self, *command: str) -> str:
        """Runs a command of the engine; its output."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("DTX_", "COMPOSE_"))}
        done = subprocess.run([ENGINE, "run", *command], cwd=REPOSITORY, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "--quiet", service).strip()

    def healthy(self, service: str) -> bool:
        """Whether its healthcheck says so."""
        return self.run("docker", "inspect", "--format", "{{.State.Health.Status}}", self.container(service)).strip() == "healthy"

    def until_healthy(self) -> None:
        """Waits for all of them."""
        for service in SERVERS:
            until(partial(self.healthy, service), f"{service} is healthy", 600)

    def sql(self, database: str, query: str) -> str:
        """What PostgreSQL answers."""
        return self.run(
            "docker", "exec", self.container("postgres"), "psql", "--username=dtx", "--tuples-only", "--no-align", "--command", query, database
        ).strip()

    @property
    def client(self) -> dict[str, str]:
        """The environment of somebody who uses the platform from the machine."""
        return {
            "DTX_AIRFLOW_URL": self.values["DTX_PUBLIC_URL"],
            "DTX_AIRFLOW_USERNAME": "admin",
            "DTX_AIRFLOW_PASSWORD": self.values["DTX_ADMIN_PASSWORD"],
            "DTX_ROOT": "s3://dtx/store",
            "AWS_ENDPOINT_URL": f"http://localhost:{self.values['DTX_S3_PORT']}",
            "AWS_ACCESS_KEY_ID": self.values["DTX_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": self.values["DTX_S3_SECRET_KEY"],
        }

    def dtx(self, *arguments: str) -> str:
        """Runs the command, which has to succeed; its output."""
        done = dtx(*arguments, cwd=self.folder, **self.client)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout


def free_ports(num_ports: int) -> list[int]:
    """Ports of this machine that nobody has."""
    sockets = [socket.socket() for _ in range(num_ports)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    found = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return found


def settings() -> dict[str, str]:
    """The values of .env: secrets of its own, the stand-ins, and ports that nobody else has."""
    airflow, mlflow, s3 = free_ports(3)
    names = ("POSTGRES_PASSWORD", "S3_SECRET_KEY", "FERNET_KEY", "JWT_SECRET", "API_SECRET_KEY", "ADMIN_PASSWORD")
    made = {f"DTX_{name}": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() for name in names}
    images = {"POSTGRES_IMAGE": "postgres", "S3_IMAGE": "s3", "DTX_AIRFLOW_IMAGE": "airflow", "MLFLOW_IMAGE": "airflow"}
    return {
        **made,
        **{name: f"dtx-standin-{image}:dev" for name, image in images.items()},
        "COMPOSE_PROJECT_NAME": PROJECT,
        "DTX_S3_ACCESS_KEY": "dtx",
        "DTX_BACKEND": "local",
        "DTX_PARALLELISM": "2",
        "DTX_AIRFLOW_PORT": str(airflow),
        "DTX_MLFLOW_PORT": str(mlflow),
        "DTX_S3_PORT": str(s3),
        "DTX_PUBLIC_URL": f"http://localhost:{airflow}",
        "DTX_MLFLOW_URL": f"http://localhost:{mlflow}",
        "DTX_PYTHON": sys.base_prefix,
        "DTX_CHECKOUT": str(REPOSITORY),
    }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """Everything, up and healthy."""
    if os.geteuid() != 0 or not shutil.which("apt-get") or not Path("~/.cache/dtx-cluster/images/dtx-base_dev.tar").expanduser().exists():
        pytest.skip("needs root, Debian, and dtx-base:dev of the development cluster")
    ran_before = subprocess.run([ENGINE, "run", "docker", "version"], capture_output=True, check=False).returncode == 0
    subprocess.run([ENGINE, "up"], check=True, stdout=subprocess.DEVNULL)
    made = Compose(tmp_path_factory.mktemp("compose"), settings())
    (made.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in made.values.items()))
    try:
        made.compose("up", "--detach")
        made.until_healthy()
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "20")
        if not ran_before:
            subprocess.run([ENGINE, "down"], check=True)


def test_experiment_ends_with_a_verdict(stack: Compose) -> None:
    """By `dtx submit` from the machine, with the author's own files."""
    matrix = {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [write_data(stack.folder)], "hyperparameters": [LEARNS]}
    spec = {"kind": "FinetuneExperiment", "name": "composed", "matrix": matrix, "scoring": {"max_new_tokens": 4}, "registered_name": "composed"}
    (stack.folder / "composed.json").write_text(json.dumps(spec))
    said = stack.dtx("submit", "composed.json", "--wait")
    assert "tiny / words / learns is the best" in said


def test_runs_are_in_postgresql(stack: Compose) -> None:
    """Airflow's in one database, MLflow's in the other."""
    assert stack.sql("airflow", "select state from dag_run where dag_id = 'finetune_experiment'") == "success"
    assert int(stack.sql("mlflow", "select count(*) from metrics")) > 0


def test_weights_are_on_s3(stack: Compose) -> None:
    """The registered version names them where they are."""
    (version,) = MlflowClient(stack.values["DTX_MLFLOW_URL"]).search_model_versions("name = 'composed'")
    assert str(version.source).startswith("s3://dtx/store/default/jobs/")
    session = boto3.Session("dtx", stack.values["DTX_S3_SECRET_KEY"], region_name="us-east-1")
    s3 = session.client("s3", endpoint_url=stack.client["AWS_ENDPOINT_URL"])
    found = s3.list_objects_v2(Bucket="dtx", Prefix=str(version.source).removeprefix("s3://dtx/"))
    assert any(item["Key"].endswith(".safetensors") for item in found["Contents"])


def test_log_of_a_task_is_shown(stack: Compose) -> None:
    """The API server reads what the scheduler's container wrote."""
    with Airflow(stack.values["DTX_PUBLIC_URL"], username="admin", password=stack.values["DTX_ADMIN_PASSWORD"]) as airflow:
        run_id = stack.sql("airflow", "select run_id from dag_run where dag_id = 'finetune_experiment'")
        said = airflow.log("finetune_experiment", run_id, "finetune.train", 0)
    assert any('"event": "step"' in line for line in said)


def test_everything_survives_being_stopped(stack: Compose) -> None:
    """Volumes hold all of it; making the tables again changes nothing."""
    stack.compose("down", "--timeout", "20")
    stack.compose("up", "--detach")
    stack.until_healthy()
    assert "tiny / words / learns" in stack.dtx("leaderboard", stack.sql("airflow", "select run_id from dag_run where dag_id = 'finetune_experiment'"))
