"""The workloads of packs on several machines, in the cluster."""

from __future__ import annotations

import time
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from kubernetes.client import BatchV1Api, CoreV1Api, CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from dtx_tasks.launch.endings import is_lost
from dtx_tasks.launch.several import ENDED, JOB_SET, ended

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from dtx_tasks.launch.several import SeveralNodes

GONE_S = 60.0
"""For the pods of a deleted workload to end, beyond their grace."""


class WorkloadClient:
    """Makes, finds and removes JobSets and Jobs.

    Args:
        api: The connection to the cluster.
        grace_s: From the request to stop until a pod is killed.
    """

    def __init__(self, api: ApiClient, grace_s: float = 0.0) -> None:
        self._api, self._grace_s = api, grace_s
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
                made = self._batch.create_namespaced_job(workload.namespace, workload.manifest)
                self._create_service(workload, made.metadata.uid)
        except ApiException as error:
            if error.status != 409:
                raise
            self._complete(workload)
            return False
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
        self.remove(workload.kind, workload.name, workload.namespace)
        self._wait_while_terminating(workload)

    def managed(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """What carries a label and stands for itself: pods of a workload go with it.

        Args:
            namespace: Where to look.
            selector: The label.

        Returns:
            The objects, each with its `kind`.
        """
        found = [("Pod", self._plain(pod)) for pod in self._core.list_namespaced_pod(namespace, label_selector=selector).items]
        found += [("Job", self._plain(job)) for job in self._batch.list_namespaced_job(namespace, label_selector=selector).items]
        try:
            job_sets = self._custom.list_namespaced_custom_object(**JOB_SET, namespace=namespace, label_selector=selector)["items"]
        except ApiException as error:
            # JobSet is not installed.
            if error.status != 404:
                raise
            job_sets = []
        found += [("JobSet", item) for item in job_sets]
        return [{**item, "kind": kind} for kind, item in found if not item["metadata"].get("ownerReferences")]

    def remove(self, kind: str, name: str, namespace: str) -> None:
        """Removes one object with what belongs to it; one that is gone already is no failure."""
        try:
            self._remove(kind, name, namespace)
        except ApiException as error:
            if error.status != 404:
                raise

    def remove_pod(self, pod: dict[str, Any]) -> None:
        """Removes a pod that has ended; one whose node is lost, without waiting for its kubelet."""
        grace = {"grace_period_seconds": 0} if is_lost(pod) else {}
        try:
            self._core.delete_namespaced_pod(pod["metadata"]["name"], pod["metadata"]["namespace"], **grace)
        except ApiException as error:
            if error.status != 404:
                raise

    def _remove(self, kind: str, name: str, namespace: str) -> None:
        if kind == "JobSet":
            self._custom.delete_namespaced_custom_object(**JOB_SET, namespace=namespace, name=name, propagation_policy="Foreground")
        elif kind == "Job":
            self._batch.delete_namespaced_job(name, namespace, propagation_policy="Foreground")
        else:
            self._core.delete_namespaced_pod(name, namespace)

    def _complete(self, workload: SeveralNodes) -> None:
        """Adds the Service, should its maker have been killed before it made that."""
        found = self.read(workload) if workload.service else None
        if found:
            self._create_service(workload, found["metadata"]["uid"])

    def _create_service(self, workload: SeveralNodes, job_uid: str) -> None:
        """Gives the pods of a Job their names; it goes with the Job. Ranks ask again until there is one."""
        service = deepcopy(workload.service) or {}
        service["metadata"]["ownerReferences"] = [{"apiVersion": "batch/v1", "kind": "Job", "name": workload.name, "uid": job_uid}]
        try:
            self._core.create_namespaced_service(workload.namespace, service)
        except ApiException as error:
            if error.status != 409:
                raise

    def _wait_while_terminating(self, workload: SeveralNodes) -> None:
        deadline = time.monotonic() + self._grace_s + GONE_S
        while time.monotonic() < deadline:
            found = self.read(workload)
            if found is None or not found["metadata"].get("deletionTimestamp"):
                return
            time.sleep(1.0)

    def _plain(self, item: Any) -> dict[str, Any]:
        return dict(self._api.sanitize_for_serialization(item))
