"""How many packs one Airflow carries: mapped packs on pretended nodes, PostgreSQL below, everything else as it is.

As root, with the development cluster (its pretended nodes come from KWOK) and Debian's postgresql:

    eval "$(../shared/cluster/up --kwok 10)"
    python -m benchmarks.scale --packs 500

The pods are real objects on nodes that run nothing: this program ends each some seconds after its start, as a kubelet would, and leaves on storage what
its stage would have left. Fetching, preparing and the base's scores are there before. Every pack is one train pod and one score pod.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import yaml
from kubernetes import client, config

from dtx_tasks import stack
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.records import ExperimentPlan, Pack
from dtx_tasks.resolve import Origin
from dtx_tasks.score.rows import scored_rows
from dtx_tasks.spec import SpecDocument
from dtx_tasks.stack.rest import AirflowUnreachable
from dtx_tasks.storage import read_record
from tests.builders import Store
from tests.cluster.place import DAG_ID, REPOSITORY, Cluster, ClusterPlace
from tests.postgres import MISSING, postgres, postgres_programs
from tests.recipes.world import QUICK

PRETENDED = {"nodeSelector": {"type": "kwok"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]}
TASKS_AT_A_TIME = 8
POLL_S = 15
RUN_S = 20.0
"""How long a pretended stage takes."""


def main() -> None:
    """Runs one experiment of so many packs, and prints what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, default=500)
    parser.add_argument("--limit-s", type=float, default=3 * 3600)
    options = parser.parse_args()
    # A shell starts what is in its background deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if postgres_programs() is None:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as folder, postgres("airflow", max_connections=300) as server:
        cluster = Cluster.make()
        try:
            _measure(ClusterPlace(Path(folder), cluster), f"{server}/airflow", options.packs, options.limit_s)
        finally:
            cluster.remove()


def _measure(place: ClusterPlace, database: str, num_packs: int, limit_s: float) -> None:
    # The stack asks for its backend in its own environment.
    os.environ.update(place.environment)
    _pretend(place)
    path = place.experiment("scale", [{**QUICK, "max_steps": 4}], parallelism=num_packs)
    spec = json.loads(Path(path).read_text())
    spec["matrix"]["seeds"] = list(range(num_packs))
    Path(path).write_text(json.dumps(spec))
    plan = plan_document(SpecDocument("the benchmark's spec", spec), Origin(place.folder))
    names = {
        **place.environment,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(2 * num_packs),
        "AIRFLOW__API__WORKERS": "2",
        # Airflow's own default; a laptop's stack looks five times as often.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    }
    stack.up(place.folder / ".dtx", dags_folder=REPOSITORY / "dags", plugins_folder=REPOSITORY / "plugins", config_env=names, parallelism=TASKS_AT_A_TIME)
    try:
        kubelet = Kubelet(place, plan)
        with kubelet, Watch(place) as watch:
            started_at = time.monotonic()
            run_id = place.submit(path)
            state = _wait(place, run_id, started_at + limit_s)
            wall_s = time.monotonic() - started_at
        _report(num_packs, state, wall_s, watch, _tasks(database, run_id))
    finally:
        stack.down(place.folder / ".dtx")


def _wait(place: ClusterPlace, run_id: str, deadline: float) -> str:
    """The state in which a run ends; a server that is too busy to say it is asked again."""
    while time.monotonic() < deadline:
        with suppress(AirflowUnreachable):
            if (state := place.state(run_id)) in ("success", "failed"):
                return state
        time.sleep(10)
    return "unfinished"


def _pretend(place: ClusterPlace) -> None:
    backend, template = place.folder / "config/backends/cluster.yaml", place.folder / "config/pods/cluster.yaml"
    backend.write_text(yaml.safe_dump({**yaml.safe_load(backend.read_text()), "poll_s": POLL_S}))
    pod = yaml.safe_load(template.read_text())
    pod["spec"] |= PRETENDED
    template.write_text(yaml.safe_dump(pod))


class Kubelet(threading.Thread):
    """Ends pretended pods, after what they would have left is on storage."""

    def __init__(self, place: ClusterPlace, plan: ExperimentPlan) -> None:
        super().__init__(daemon=True)
        config.load_kube_config()
        self._core, self._namespace = client.CoreV1Api(), place.cluster.namespace
        self._store, self._is_over = Store(place.root, plan), threading.Event()
        self._rows = ""

    def __enter__(self) -> None:
        store, plan = self._store, self._store.plan
        for base in plan.bases:
            store.fetch(base)
        for document in plan.prepared:
            store.prepare(document)
        self._rows = scored_rows(plan.scoring, store.layout).digest
        for base in plan.bases:
            store.score(base.llm.llm_id, "base", rows_digest=self._rows, validation=[0.0, 0.0], test=[0.0])
        self.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def run(self) -> None:
        """Looks every second."""
        while not self._is_over.wait(1.0):
            pods = self._core.list_namespaced_pod(self._namespace, label_selector="app.kubernetes.io/managed-by=dtx").items
            for pod in pods:
                if pod.status.phase == "Running" and time.time() - pod.status.start_time.timestamp() > RUN_S:
                    self._end(pod)

    def _end(self, pod: Any) -> None:
        pack = read_record(pod.metadata.annotations["dtx/document"], Pack)
        assert pack is not None
        for job in pack.jobs:
            if pod.metadata.labels["dtx/stage"] == "train":
                self._store.train(job)
            else:
                self._store.score(job.job_id, f"checkpoint of {job.job_id}", rows_digest=self._rows, validation=[1.0, 1.0], test=[1.0])
        ended = {"name": "base", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
        self._core.patch_namespaced_pod_status(pod.metadata.name, self._namespace, {"status": {"phase": "Succeeded", "containerStatuses": [ended]}})


class Watch(threading.Thread):
    """Counts the API server's requests, and weighs the triggerer."""

    def __init__(self, place: ClusterPlace) -> None:
        super().__init__(daemon=True)
        self._is_over = threading.Event()
        state = stack.status(place.folder / ".dtx")
        assert state is not None
        component = state.component("triggerer")
        assert component is not None
        self._triggerer = component.pid
        self.most_bytes, self.num_requests, self._before = 0, 0, 0

    def __enter__(self) -> Watch:
        self._before = _num_requests()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.num_requests = _num_requests() - self._before

    def run(self) -> None:
        """Looks every few seconds."""
        while not self._is_over.wait(5.0):
            triggerer = psutil.Process(self._triggerer)
            self.most_bytes = max(self.most_bytes, sum(process.memory_info().rss for process in [triggerer, *triggerer.children(recursive=True)]))


def _num_requests() -> int:
    """What pods and their logs were asked for: the cluster's own controllers do not count here, nor does this program's looking once a second much."""
    text = subprocess.run(["kubectl", "get", "--raw", "/metrics"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r'^apiserver_request_total\{[^}]*resource="pods"[^}]*\} (\S+)$', text, re.MULTILINE)
    return int(sum(float(number) for number in found))


def _tasks(database: str, run_id: str) -> list[tuple[str, str, float, int]]:
    """Name, state, seconds from `scheduled` to `queued`, and number of tries of every task."""
    query = "select task_id, state, extract(epoch from queued_dttm - scheduled_dttm), try_number from task_instance where dag_id = %s and run_id = %s"
    with psycopg2.connect(database.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute(query, (DAG_ID, run_id))
        return [(str(task), str(state), float(lag or 0.0), int(tries)) for task, state, lag, tries in cursor.fetchall()]


def _report(num_packs: int, state: str, wall_s: float, watch: Watch, tasks: list[tuple[str, str, float, int]]) -> None:
    packs = [task for task in tasks if task[0].startswith("finetune.")]
    lags = sorted(lag for _, _, lag, _ in packs)
    print(
        f"{num_packs} packs: the run ended `{state}` after {wall_s:.0f} s; {wall_s / max(1, len(packs)):.2f} s for each of {len(packs)} train and score tasks"
    )
    print(f"ended: {sum(task[1] == 'success' for task in packs)} of {2 * num_packs}; tried more than once: {sum(task[3] > 1 for task in packs)}")
    print(f"requests about pods: {watch.num_requests / wall_s:.1f} a second; triggerer: {watch.most_bytes / 1e6:.0f} MB at most")
    print(f"scheduler, from `scheduled` to `queued`: median {statistics.median(lags):.1f} s, at most {lags[-1]:.1f} s")


if __name__ == "__main__":
    main()
