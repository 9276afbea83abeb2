"""One stage on one document as a pod, or as the pods of several machines, for a mapped Airflow task."""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from dtx_tasks.catalog.backend import BASE_CONTAINER, Backend, load_backend, load_pod_template
from dtx_tasks.errors import SpecError
from dtx_tasks.launch import note_ending
from dtx_tasks.launch.endings import PodEnd, end_of, end_of_all, is_lost, is_over, refused, without_pods
from dtx_tasks.launch.pods import StageCall, pod_of
from dtx_tasks.launch.several import SeveralNodes
from dtx_tasks.launch.slots import free_slot, reserve_slot
from dtx_tasks.orchestration.cluster import WorkloadClient
from dtx_tasks.orchestration.connection import use_connection
from dtx_tasks.orchestration.stage import OnDocument, is_done, run_key, turns, wait
from dtx_tasks.orchestration.triggers import WorkloadTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context
    from kubernetes.client import V1Pod


class PodStageOperator(OnDocument, KubernetesPodOperator):
    """Runs a stage in the cluster, unless every record of it is there.

    The pod is made from the document when the task runs; what `execute` sets is gone when a deferred task resumes.

    Args:
        stage: Which stage.
        document_uri: Of the stage's document; the only thing that comes from another task.
    """

    def __init__(self, *, stage: str, document_uri: str, **kwargs: Any) -> None:
        backend = load_backend()
        super().__init__(
            deferrable=True,
            termination_grace_period=backend.grace_s,
            active_deadline_seconds=backend.deadline_s,
            base_container_name=BASE_CONTAINER,
            # A pod that is kept would be taken for the next try's (provider 10.25); its log and its end are on storage and in the task's log.
            on_finish_action="delete_pod",
            log_pod_spec_on_failure=False,
            do_xcom_push=False,
            **kwargs,
        )
        self.stage = stage
        self.document_uri = document_uri
        self._running: SeveralNodes | None = None

    @cached_property
    def backend(self) -> Backend:
        """On what terms pods run."""
        return load_backend()

    def execute(self, context: Context) -> None:
        """Starts the stage and defers; finds what an earlier try of the same task has started.

        Raises:
            AirflowFailException: No further attempt is worth making.
            AirflowException: It is worth making.
            AirflowRescheduleException: Somebody else is doing it, or the experiment's parallelism is used up.
        """
        use_connection()
        try:
            self._execute(context, self._call(context))
        except SpecError as error:
            raise AirflowFailException(str(error)) from error

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> None:
        """Settles what pods came to; the cluster's own word counts where the stage could not say it."""
        use_connection()
        call = self._call(context)
        self._set_up(call)
        if event["kind"] == "Pod":
            self.pod = self._read(event["name"], event["namespace"])
            self._settle_one(call)
        else:
            several = self._several(call)
            self._settle(call, self._end_of_several(several), partial(self._workloads.delete, several))

    def invoke_defer_method(self, last_log_time: Any = None, context: Context | None = None) -> None:  # noqa: ARG002
        """Waits for the pod: the provider's own trigger gives up after the fourth failure of the API."""
        assert self.pod is not None
        self._wait_for("Pod", self.pod.metadata.name)

    def _execute(self, context: Context, call: StageCall) -> None:
        self._set_up(call)
        if call.nodes == 1 and self._adopt(context, call):
            return
        # Many tasks may wait for a place: none of them holds a worker meanwhile.
        for _ in turns(self.stage, self.document_uri, call.run_key, patience_s=0):
            if not self._reserve(call):
                wait()
            if call.nodes > 1:
                self._start_several(call)
            else:
                self._start_one(context, call)
            return
        self.log.info("Every record is there already: nothing to do.")

    def _reserve(self, call: StageCall) -> bool:
        """Takes a place of the experiment's parallelism for the pod that is to come."""
        backend = self.backend
        return reserve_slot(self.stage, self.document_uri, call.run_key, backend.schedule_timeout_s + backend.startup_timeout_s)

    def _set_up(self, call: StageCall) -> None:
        self.namespace = self.backend.namespace.format(team=call.document.team)
        self.name = call.name

    def _adopt(self, context: Context, call: StageCall) -> bool:
        """Goes on with the pod of an earlier try, if there is one: it was never stopped. Whether that has done the work."""
        pod = self._get_pod_from_task_state_store(context) or self.find_pod(self.namespace, context)
        if pod is None or (is_over(_plain(pod)) and pod.metadata.deletion_timestamp and not is_lost(_plain(pod))):
            # One that is over and on its way out was settled by the try before.
            return False
        self.log.info("Found the pod %s of an earlier try.", pod.metadata.name)
        self.pod = pod
        if not is_over(_plain(pod)):
            self.invoke_defer_method(context=context)
        self._settle_one(call)
        return True

    def _start_one(self, context: Context, call: StageCall) -> None:
        self.pod_template_dict = pod_of(call, self.backend, load_pod_template(self.backend))
        self.pod = self.pod_request_obj = None
        try:
            super().execute(context)
        except ApiException as error:
            end = _refusal(error)
        self._settle(call, end)

    def _start_several(self, call: StageCall) -> None:
        several = self._several(call)
        try:
            if not self._workloads.create(several):
                self.log.info("Found the %s %s of an earlier try.", several.kind, several.name)
        except ApiException as error:
            end = _refusal(error)
        else:
            if not self._workloads.is_over(several):
                self._wait_for(several.kind, several.name)
            end = self._end_of_several(several)
        self._settle(call, end, partial(self._workloads.delete, several))

    def _wait_for(self, kind: str, name: str) -> NoReturn:
        backend = self.backend
        trigger = WorkloadTrigger(
            kind=kind,
            name=name,
            namespace=self.namespace,
            poll_s=backend.poll_s,
            schedule_timeout_s=backend.schedule_timeout_s,
            startup_timeout_s=backend.startup_timeout_s,
            grace_s=backend.grace_s,
            kubernetes_conn_id=self.kubernetes_conn_id,
            in_cluster=bool(self.hook.is_in_cluster),
        )
        raise TaskDeferred(trigger=trigger, method_name="trigger_reentry")

    def _settle_one(self, call: StageCall) -> None:
        pod = self.pod
        self._settle(call, end_of(_plain(pod) if pod else None), partial(self._workloads.remove_pod, _plain(pod)) if pod else None)

    def _end_of_several(self, several: SeveralNodes) -> PodEnd:
        """What the pods of several machines came to."""
        pods = self._workloads.pods(several)
        for pod in pods:
            self.log.info("%s: %s", pod["metadata"]["name"], end_of(pod).reason if is_over(pod) else pod["status"].get("phase"))
        if self._workloads.is_complete(several):
            return PodEnd(0)
        return end_of_all(pods) if pods or self._workloads.read(several) is None else without_pods(several.kind)

    def _settle(self, call: StageCall, end: PodEnd, remove: Callable[[], None] | None = None) -> None:
        """Ends the try as its pod deserves: writes down what nobody else can, then removes the pod and gives its place back."""
        if end.error:
            note_ending(self.stage, self.document_uri, call.run_key, end.error)
        if remove:
            remove()
        free_slot(self.stage, self.document_uri, call.run_key)
        if not is_done(self.stage, self.document_uri, end.exit_code, call.run_key, end.reason):
            wait()

    def on_kill(self) -> None:
        """Removes what was started, when a person ends the task while it runs and not while it waits."""
        super().on_kill()
        if self._running:
            self._workloads.remove(self._running.kind, self._running.name, self._running.namespace)

    def _call(self, context: Context) -> StageCall:
        ti = context["ti"]
        index = -1 if ti.map_index is None else ti.map_index
        owner: dict[str, str | int] = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": index}
        deadline = int(time.time()) + self.backend.schedule_timeout_s + self.backend.deadline_s
        return StageCall(self.stage, self.document_uri, run_key(context, self.retries or 0), owner, ti.try_number, deadline)

    def _several(self, call: StageCall) -> SeveralNodes:
        self._set_up(call)
        several = self._running = SeveralNodes.of(call, self.backend, load_pod_template(self.backend), self.namespace)
        return several

    @cached_property
    def _workloads(self) -> WorkloadClient:
        return WorkloadClient(self.hook.api_client, self.backend.grace_s)

    def _read(self, name: str, namespace: str) -> V1Pod | None:
        try:
            return self.hook.get_pod(name, namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise


def _plain(pod: V1Pod) -> dict[str, Any]:
    """A pod as the API gives it."""
    return dict(ApiClient().sanitize_for_serialization(pod))


def _refusal(error: ApiException) -> PodEnd:
    known = refused(error.status or 0, str(error.body or error.reason))
    return PodEnd(known.exit_code, known)
