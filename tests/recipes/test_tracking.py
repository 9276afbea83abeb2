"""What reaches MLflow, when, and how often; with a real server that can be away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import mlflow
import pytest

from dtx_tasks.errors import TransientError
from dtx_tasks.register import register
from dtx_tasks.select import select
from dtx_tasks.tracking.server import connect
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient

    from dtx_tasks.records import RunReference
    from tests.recipes.world import Trial

pytestmark = pytest.mark.process

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def mlflow_address(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server, as the embedded stack starts it."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "artifacts")]
    server = subprocess.Popen([*command, *store], env={**os.environ, **settings}, start_new_session=True)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), "MLflow answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a server says that it is well."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], MlflowClient]]:
    """Points this process at an MLflow."""

    def point_at(address: str) -> MlflowClient:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        connect.cache_clear()
        return connect()

    yield point_at
    connect.cache_clear()


def test_training_goes_on_without_mlflow_and_everything_is_caught_up_later(
    trial: Callable[..., Trial], mlflow_address: str, tracked: Callable[[str], MlflowClient]
) -> None:
    """While MLflow is away a job trains and is scored; registering fails so that it is retried; later every curve is there, and one version, however often it is registered."""
    made = trial(groups=[{"name": "full", "finetuning_type": "full", "global_batch_size": 4, "logging_steps": 1, "learning_rate": 4e-3, "max_steps": 200}])
    run, pack = made.noted(), made.uris.packs[0]
    process = made.process("train", pack, MLFLOW_TRACKING_URI=NOBODY)
    said = "\n".join(process.lines())
    assert process.wait() == 0, said
    assert "Not published yet, training goes on" in said
    made.here("score", pack)
    made.here("score_base", made.uris.bases[0])
    verdict = select(made.plan, made.layout)
    assert not verdict.is_base, verdict.reason

    tracked(NOBODY)
    with pytest.raises(TransientError, match="did not answer as it should"):
        register(made.plan, verdict, run, made.layout)

    client = tracked(mlflow_address)
    with ThreadPoolExecutor(2) as pool:
        versions = list(pool.map(lambda _: register_again(made, run), range(2)))
    assert versions == ["1", "1"]
    assert register_again(made, run) == "1"
    version = client.get_model_version_by_alias(made.plan.registered_name, "candidate")
    assert (version.version, version.tags["dtx.plan_id"]) == ("1", made.plan.plan_id)
    assert (Path(mlflow.artifacts.download_artifacts(version.source)) / "model.safetensors").is_file()
    child = client.get_run(version.run_id)
    losses = client.get_metric_history(version.run_id, "train/loss")
    assert [metric.step for metric in losses] == list(range(1, 201))
    assert child.data.params["learning_rate"] == "0.004"
    assert child.data.tags["dtx.hyperparameters"] == "full"
    assert f"validation/{verdict.metric}" in child.data.metrics
    parent = client.get_run(child.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["dtx.dag_run_id"] == run.run_id
    assert (child.info.status, parent.info.status) == ("FINISHED", "FINISHED")


def register_again(made: Trial, run: RunReference) -> str | None:
    """Registers, as a retry or a second run at the same time does."""
    found = register(made.plan, select(made.plan, made.layout), run, made.layout)
    return found.version if found else None
