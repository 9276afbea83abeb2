"""The workloads of packs on several machines, in the cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kubernetes.client import BatchV1Api, CoreV1Api, CustomObjectsApi
from kubernetes.client.exceptions import ApiException

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from dtx_tasks.launch.several import SeveralNodes

JOB_SET = {"group": "jobset.x-k8s.io", "version": "v1alpha2", "plural": "jobsets"}
ENDED = {"JobSet": ("Completed", "Failed"), "Job": ("Complete", "Failed")}
"""Conditions of a workload that has ended; the first of them well."""

GONE_S = 180.0
"""For the pods of a deleted workload to end: their grace, and a little more."""


class WorkloadClient:
    """Makes, finds and removes JobSets and Jobs.

    Args:
        api: The connection to the cluster.
    """

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._core, self._batch, self._custom = CoreV1Api(api), BatchV1Api(api), CustomObjectsApi(api)

    def create(self, workload: SeveralNodes) -> bool:
        """Makes a workload; whether it is new, as opposed to found. One that is being removed is waited for.

        Raises:
            ApiException: The cluster refuses it.
        """
        self._wait_while_terminating(workload)
        try:
            if workload.kind == "JobSet":
                self._custom.create_namespaced_custom_object(**JOB_SET, namespace=workload.namespace, body=workload.manifest)
            else:
                self._create_service(workload)
                self._batch.create_namespaced_job(workload.namespace, workload.manifest)
        except ApiException as error:
            if error.status == 409:
                return False
            raise
        return True

    def read(self, workload: SeveralNodes) -> dict[str, Any] | None:
        """A workload as the API gives it; None when it is not there."""
        try:
            if workload.kind == "JobSet":
                return dict(self._custom.get_namespaced_custom_object(**JOB_SET, namespace=workload.namespace, name=workload.name))
            return self._plain(self._batch.read_namespaced_job(workload.name, workload.namespace))
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def is_over(self, workload: SeveralNodes) -> bool:
        """Whether it has ended, or is gone."""
        found = self.read(workload)
        return found is None or ended(workload.kind, found) is not None

    def is_complete(self, workload: SeveralNodes) -> bool:
        """Whether it has ended well."""
        found = self.read(workload)
        return found is not None and ended(workload.kind, found) == ENDED[workload.kind][0]

    def pods(self, workload: SeveralNodes) -> list[dict[str, Any]]:
        """Its pods, by rank."""
        found = self._core.list_namespaced_pod(workload.namespace, label_selector=workload.pod_selector).items
        return sorted((self._plain(pod) for pod in found), key=lambda pod: str(pod["metadata"]["name"]))

    def delete(self, workload: SeveralNodes) -> None:
        """Removes it with its pods, and waits until they are gone."""
        try:
            if workload.kind == "JobSet":
                self._custom.delete_namespaced_custom_object(
                    **JOB_SET, namespace=workload.namespace, name=workload.name, propagation_policy="Foreground", body={"propagationPolicy": "Foreground"}
                )
            else:
                self._batch.delete_namespaced_job(workload.name, workload.namespace, propagation_policy="Foreground")
                self._core.delete_namespaced_service(workload.name, workload.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
        self._wait_while_terminating(workload)

    def _create_service(self, workload: SeveralNodes) -> None:
        try:
            self._core.create_namespaced_service(workload.namespace, workload.service)
        except ApiException as error:
            if error.status != 409:
                raise

    def _wait_while_terminating(self, workload: SeveralNodes) -> None:
        deadline = time.monotonic() + GONE_S
        while time.monotonic() < deadline:
            found = self.read(workload)
            if found is None or not found["metadata"].get("deletionTimestamp"):
                return
            time.sleep(1.0)

    def _plain(self, item: Any) -> dict[str, Any]:
        return dict(self._api.sanitize_for_serialization(item))


def ended(kind: str, workload: dict[str, Any]) -> str | None:
    """The condition in which a workload has ended; None while it has not."""
    conditions = workload.get("status", {}).get("conditions") or []
    return next((item["type"] for item in conditions if item["type"] in ENDED[kind] and item["status"] == "True"), None)
