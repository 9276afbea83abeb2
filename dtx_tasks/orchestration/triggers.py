"""Waits in the triggerer for the pods of several machines, and says what they say."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.triggers.base import BaseTrigger, TriggerEvent
from kubernetes_asyncio import client

from dtx_tasks.catalog.backend import BASE_CONTAINER
from dtx_tasks.orchestration.cluster import ENDED, JOB_SET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOG_LINES = 2000
"""Of one pod between two looks; all of them are kept on storage."""


class WorkloadTrigger(BaseTrigger):
    """Looks at a JobSet or Job until it has ended.

    Args:
        kind: Which of the two.
        name: Of the workload.
        namespace: Of the workload.
        poll_s: Seconds between two looks.
        kubernetes_conn_id: Airflow's connection to the cluster.
        deadline: Unix time after which it is not waited for any more.
    """

    def __init__(self, kind: str, name: str, namespace: str, poll_s: float, kubernetes_conn_id: str | None, deadline: float) -> None:
        super().__init__()
        self.kind, self.name, self.namespace = kind, name, namespace
        self.poll_s, self.kubernetes_conn_id, self.deadline = poll_s, kubernetes_conn_id, deadline
        self._phases: dict[str, str] = {}
        self._seen_at: dict[str, float] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What another triggerer needs to go on."""
        names = ("kind", "name", "namespace", "poll_s", "kubernetes_conn_id", "deadline")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits; what the API fails to answer is asked again."""
        while time.time() < self.deadline:
            try:
                if await self._has_ended():
                    yield TriggerEvent({"status": "ended"})
                    return
            except Exception as error:  # noqa: BLE001 - whatever the API's failure, the pods go on
                self.log.warning("The cluster did not answer, it is asked again: %s", error)
            await asyncio.sleep(self.poll_s)
        yield TriggerEvent({"status": "timeout"})

    async def on_kill(self) -> None:
        """Removes the workload when a person ends the task; the pods have their grace for a last checkpoint."""
        async with self._hook().get_conn() as api:
            if self.kind == "JobSet":
                await client.CustomObjectsApi(api).delete_namespaced_custom_object(
                    **JOB_SET, namespace=self.namespace, name=self.name, propagation_policy="Foreground"
                )
            else:
                await client.BatchV1Api(api).delete_namespaced_job(self.name, self.namespace, propagation_policy="Foreground")

    async def _has_ended(self) -> bool:
        async with self._hook().get_conn() as api:
            workload = await self._read(api)
            await self._say(api)
        if workload is None:
            return True
        conditions = workload.get("status", {}).get("conditions") or []
        return any(item["type"] in ENDED[self.kind] and item["status"] == "True" for item in conditions)

    async def _read(self, api: Any) -> dict[str, Any] | None:
        try:
            if self.kind == "JobSet":
                return dict(await client.CustomObjectsApi(api).get_namespaced_custom_object(**JOB_SET, namespace=self.namespace, name=self.name))
            return dict(api.sanitize_for_serialization(await client.BatchV1Api(api).read_namespaced_job(self.name, self.namespace)))
        except client.exceptions.ApiException as error:
            if error.status == 404:
                return None
            raise

    async def _say(self, api: Any) -> None:
        """The state of every rank when it changes, and what each has said since."""
        core = client.CoreV1Api(api)
        label = "jobset.sigs.k8s.io/jobset-name" if self.kind == "JobSet" else "batch.kubernetes.io/job-name"
        pods = (await core.list_namespaced_pod(self.namespace, label_selector=f"{label}={self.name}")).items
        for pod in sorted(pods, key=lambda pod: str(pod.metadata.name)):
            rank = (pod.metadata.labels or {}).get("batch.kubernetes.io/job-completion-index", "?")
            if self._phases.get(pod.metadata.name) != pod.status.phase:
                self.log.info("rank %s: %s (%s)", rank, pod.status.phase, pod.metadata.name)
            self._phases[pod.metadata.name] = pod.status.phase
            if pod.status.phase != "Pending":
                await self._say_log(core, pod.metadata.name, rank)

    async def _say_log(self, core: Any, name: str, rank: str) -> None:
        since, now = self._seen_at.get(name), time.time()
        extra = {"since_seconds": max(1, int(now - since) + 1)} if since else {}
        try:
            text = await core.read_namespaced_pod_log(name, self.namespace, container=BASE_CONTAINER, tail_lines=LOG_LINES, **extra)
        except client.exceptions.ApiException:
            # It is starting, or on its way out.
            return
        self._seen_at[name] = now
        for line in text.splitlines():
            self.log.info("[rank %s] %s", rank, line)

    def _hook(self) -> AsyncKubernetesHook:
        return AsyncKubernetesHook(conn_id=self.kubernetes_conn_id)
