"""Waits in the triggerer for pods, and says what they say."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from kubernetes_asyncio import client

from dtx_tasks.catalog.backend import BASE_CONTAINER
from dtx_tasks.launch.endings import is_over, is_overdue
from dtx_tasks.launch.several import JOB_SET, POD_LABELS, RANK_LABEL, ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOG_LINES = 5000
"""Of one pod between two looks; all of them are kept on storage."""


BARREN_S = 120.0
"""After so long without a pod a workload that is not held back never gets one."""


class WorkloadTrigger(BaseTrigger):
    """Looks at a Pod, a JobSet or a Job until it has ended, or is not worth waiting for any more.

    Args:
        kind: Which of the three.
        name: Of the workload.
        namespace: Of the workload.
        poll_s: Seconds between two looks.
        schedule_timeout_s: How long a pod may wait for a place.
        startup_timeout_s: How long it may take to start there.
        grace_s: From the request to stop until a pod is killed.
        kubernetes_conn_id: Airflow's connection to the cluster.
        in_cluster: Whether that is the cluster which Airflow itself runs in.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        namespace: str,
        poll_s: float,
        schedule_timeout_s: float,
        startup_timeout_s: float,
        grace_s: int,
        kubernetes_conn_id: str | None,
        in_cluster: bool,
    ) -> None:
        super().__init__()
        self.kind, self.name, self.namespace = kind, name, namespace
        self.poll_s, self.schedule_timeout_s, self.startup_timeout_s = poll_s, schedule_timeout_s, startup_timeout_s
        self.grace_s, self.kubernetes_conn_id, self.in_cluster = grace_s, kubernetes_conn_id, in_cluster
        self._phases: dict[str, str] = {}
        self._said_until: dict[str, str] = {}
        self._heard_at: dict[str, float] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to go on."""
        timing = ("poll_s", "schedule_timeout_s", "startup_timeout_s", "grace_s")
        names = ("kind", "name", "namespace", *timing, "kubernetes_conn_id", "in_cluster")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    @cached_property
    def _hook(self) -> AsyncKubernetesHook:
        # Where there is no connection of this name, the environment says where the cluster is.
        return AsyncKubernetesHook(conn_id=self.kubernetes_conn_id, in_cluster=self.in_cluster)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits; what the API fails to answer is asked again: the pods go on without it."""
        while True:
            try:
                if await self._look():
                    yield TriggerEvent({"kind": self.kind, "name": self.name, "namespace": self.namespace})
                    return
            except Exception as error:  # noqa: BLE001 - whatever the API's failure, there is nothing to do but to ask again
                self.log.warning("The cluster did not answer, and is asked again: %r", error)
            await asyncio.sleep(self.poll_s)

    async def on_kill(self) -> None:
        """Removes the workload when a person ends the task; its pods have their grace for a last checkpoint."""
        if await self._is_still_waited_for():
            self.log.info("Another triggerer looks after %s %s now.", self.kind, self.name)
            return
        self.log.info("Removing %s %s.", self.kind, self.name)
        async with self._hook.get_conn() as api:
            if self.kind == "Pod":
                await client.CoreV1Api(api).delete_namespaced_pod(self.name, self.namespace, grace_period_seconds=self.grace_s)
            elif self.kind == "JobSet":
                custom = client.CustomObjectsApi(api)
                await custom.delete_namespaced_custom_object(**JOB_SET, namespace=self.namespace, name=self.name, propagation_policy="Foreground")
            else:
                await client.BatchV1Api(api).delete_namespaced_job(self.name, self.namespace, propagation_policy="Foreground")

    async def _is_still_waited_for(self) -> bool:
        """Whether the task is deferred: Airflow 3.3.2 calls on_kill also when it gives a trigger to another triggerer."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ti = self.task_instance
        if ti is None:
            return False
        index = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
        try:
            found = await sync_to_async(RuntimeTaskInstance.get_task_states)(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=index)
        except Exception as error:  # noqa: BLE001 - a pod that a person has ended must not go on for want of an answer
            self.log.warning("The task's state cannot be asked for, it is taken as ended: %r", error)
            return False
        return "deferred" in found.get(ti.run_id, {}).values()

    async def _look(self) -> bool:
        """Says what is new; whether there is nothing more to wait for."""
        async with self._hook.get_conn() as api:
            core = client.CoreV1Api(api)
            pods = await self._pods(api, core)
            for pod in pods:
                await self._say(core, pod)
            if any(is_overdue(pod, time.time(), self.schedule_timeout_s, self.startup_timeout_s) for pod in pods):
                return True
            if self.kind == "Pod":
                return not pods or is_over(pods[0])
            workload = await self._workload(api)
        if workload and not pods and self._is_barren(workload):
            self.log.warning("No pod was made for %s %s: `kubectl describe` says why.", self.kind, self.name)
            return True
        return workload is None or ended(self.kind, workload) is not None or any(is_over(pod) and pod["status"]["phase"] == "Pending" for pod in pods)

    def _is_barren(self, workload: dict[str, Any]) -> bool:
        """Whether pods should be there by now: the cluster may refuse them after it took the workload."""
        made_at = datetime.fromisoformat(workload["metadata"]["creationTimestamp"]).timestamp()
        return not workload["spec"].get("suspend") and time.time() - made_at > min(BARREN_S, self.startup_timeout_s)

    async def _pods(self, api: Any, core: Any) -> list[dict[str, Any]]:
        selector = {"field_selector": f"metadata.name={self.name}"} if self.kind == "Pod" else {"label_selector": f"{POD_LABELS[self.kind]}={self.name}"}
        found = (await core.list_namespaced_pod(self.namespace, **selector)).items
        return sorted((dict(api.sanitize_for_serialization(pod)) for pod in found), key=lambda pod: str(pod["metadata"]["name"]))

    async def _workload(self, api: Any) -> dict[str, Any] | None:
        try:
            if self.kind == "JobSet":
                return dict(await client.CustomObjectsApi(api).get_namespaced_custom_object(**JOB_SET, namespace=self.namespace, name=self.name))
            return dict(api.sanitize_for_serialization(await client.BatchV1Api(api).read_namespaced_job(self.name, self.namespace)))
        except client.exceptions.ApiException as error:
            if error.status == 404:
                return None
            raise

    async def _say(self, core: Any, pod: dict[str, Any]) -> None:
        """The state of a pod when it changes, and what it has said since."""
        name, phase = pod["metadata"]["name"], pod["status"].get("phase", "Unknown")
        rank = pod["metadata"].get("labels", {}).get(RANK_LABEL)
        if self._phases.get(name) != phase:
            self.log.info("%s: %s (%s)", "pod" if rank is None else f"rank {rank}", phase, name)
        self._phases[name] = phase
        if phase != "Pending":
            for line in await self._new_lines(core, name):
                self.log.info("%s%s", "" if rank is None else f"[rank {rank}] ", line)

    async def _new_lines(self, core: Any, name: str) -> list[str]:
        now, heard_at = time.monotonic(), self._heard_at.get(name)
        since = {"since_seconds": math.ceil(now - heard_at) + 1} if heard_at else {}
        try:
            text = await core.read_namespaced_pod_log(name, self.namespace, container=BASE_CONTAINER, tail_lines=LOG_LINES, timestamps=True, **since)
        except client.exceptions.ApiException as error:
            if error.status == 403:
                self.log.warning("The log may not be read: the triggerer's account needs the right to get pods/log. It is kept on storage.")
            # Otherwise it is starting, or on its way out.
            return []
        self._heard_at[name] = now
        said_until = self._said_until.get(name, "")
        lines = [(at, line) for at, _, line in (item.partition(" ") for item in text.split("\n")) if at > said_until]
        if lines:
            self._said_until[name] = lines[-1][0]
        return [line for _, line in lines]
