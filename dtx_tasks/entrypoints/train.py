"""Trains a pack: claims its jobs, starts the training processes, and publishes what each job came to."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dtx_tasks.entrypoints.attempts import attempts_of, is_exhausted, micro_batch_size, usual_micro_batch_size
from dtx_tasks.entrypoints.failures import forget_failure, reason
from dtx_tasks.entrypoints.gpus import num_gpus
from dtx_tasks.entrypoints.memory import num_oom_kills
from dtx_tasks.entrypoints.mirror import Mirror, forget_machine, mirrored, restore, resume
from dtx_tasks.entrypoints.nodes import Node, await_others, give_orders, take_orders
from dtx_tasks.entrypoints.outcomes import killed_outcome, most_telling, outcome_of, tell_first_machine
from dtx_tasks.entrypoints.pack_round import PackRound
from dtx_tasks.entrypoints.ranks import run_ranks
from dtx_tasks.errors import BY_NAME, ClaimedError, DtxError, ExhaustedError, SpecError, TransientError
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import Attempt, FetchedLLM, Layout, LLMCheckpoint, PreparedDataset, digest_of
from dtx_tasks.storage import bring, claim, put_folder, read_record, remove, workplace, write_record
from dtx_tasks.tracking import published_live
from dtx_tasks.train.checkpoint import last_step
from dtx_tasks.train.outcome import Outcome
from dtx_tasks.train.record import inputs_of, trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtx_tasks.records import FinetuneJob, Pack
    from dtx_tasks.storage import Claim


def train_pack(pack: Pack, document_uri: str, run_key: str, owner: str) -> int:
    """Trains every job of a pack that is not finished.

    Args:
        pack: The jobs.
        document_uri: Of the pack.
        run_key: The round of attempts.
        owner: Who asks, for the claims.

    Returns:
        0: every job is final and at least one has a result.

    Raises:
        ClaimedError: What is left is being trained by somebody else.
        DtxError: A failure that can be retried, or the first one when every job failed.
    """
    this = PackRound(pack, document_uri, run_key, owner, Node.this())
    if this.node.rank > 0:
        return _follow(this)
    _refuse_one_machine(this)
    with ExitStack() as held:
        await_others(this.orders, this.node, pack.resources.nodes)
        claims = _claim_free(this, held)
        attempts = {job_id: attempt for job_id in claims if (attempt := _begin(this, _job(pack, job_id)))}
        give_orders(this.orders, this.node, {job_id: attempt.started_from_step for job_id, attempt in attempts.items()})
        if attempts:
            oom_kills = num_oom_kills()
            mirrors = [_mirror(this, job_id, claims[job_id].is_mine) for job_id in attempts]
            with published_live([_job(pack, job_id) for job_id in attempts], pack, this.layout), mirrored(mirrors):
                exit_code = run_ranks(pack, document_uri, list(attempts), this.node)
            killed = killed_outcome(exit_code, is_out_of_memory=num_oom_kills() > oom_kills)
            with undisturbed():
                for job_id, attempt in attempts.items():
                    _end(this, _job(pack, job_id), attempt, claims[job_id], exit_code, killed)
    return _verdict(this)


def _refuse_one_machine(this: PackRound) -> None:
    """Says so where a pack of several machines was started as a single process, rather than wait for the others.

    Raises:
        SpecError: Nobody told this process of other machines.
    """
    jobs = this.open_jobs()
    if this.pack.resources.nodes == 1 or this.node.coordinator or not jobs:
        return
    problem = f"resources.nodes asks for {this.pack.resources.nodes} machines, and this backend has one."
    error = SpecError(problem, "Set nodes: 1, or run it where DTX_BACKEND is a Kubernetes cluster.")
    for job in jobs:
        this.fail(job, error)
    raise error


def _follow(this: PackRound) -> int:
    """Trains what the first machine says, and tells it how that ended."""
    for job in this.pack.jobs:
        _bring_inputs(job, this.layout)
    orders = take_orders(this.orders, this.node)
    for job_id, step in orders.started_from.items():
        restore(this.layout.job(job_id), step, this.pack.resources)
    if not orders.started_from:
        return 0
    oom_kills = num_oom_kills()
    with mirrored([_mirror(this, job_id, lambda: True) for job_id in orders.started_from]):
        exit_code = run_ranks(this.pack, this.document_uri, list(orders.started_from), this.node)
    if exit_code == 0:
        return 0
    killed = killed_outcome(exit_code, is_out_of_memory=num_oom_kills() > oom_kills)
    failures = [outcome for job_id in orders.started_from for outcome in tell_first_machine(this, this.layout.job(job_id), killed)]
    worst = most_telling(failures)
    raise BY_NAME[worst.error_class](worst.message, worst.hint)


def _bring_inputs(job: FinetuneJob, layout: Layout) -> None:
    """Before the ranks look for them, which would all at once."""
    prepared = layout.prepared(job.prepared_id)
    found: list[tuple[str, PreparedDataset | FetchedLLM | None]] = [(prepared, read_record(f"{prepared}/prepared.json", PreparedDataset))]
    for llm in filter(None, (job.llm, job.reward)):
        folder = layout.llm(llm.llm_id)
        found.append((folder, read_record(f"{folder}/fetched.json", FetchedLLM)))
    for folder, record in found:
        if record:
            bring(f"{folder}/files", record.files)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Finishes what is begun although it is asked to stop: what was learned would be lost."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _mirror(this: PackRound, job_id: str, may_write: Callable[[], bool]) -> Mirror:
    num_kept = _job(this.pack, job_id).hyperparameters.save_total_limit
    return Mirror(this.layout.job(job_id), this.node.rank, this.pack.resources, may_write, num_kept)


def _job(pack: Pack, job_id: str) -> FinetuneJob:
    return next(job for job in pack.jobs if job.job_id == job_id)


def _claim_free(this: PackRound, held: ExitStack) -> dict[str, Claim]:
    """Claims every open job that nobody else is training."""
    claims: dict[str, Claim] = {}
    for job in this.open_jobs():
        found = claim(f"{this.layout.job(job.job_id)}/claim.json", this.owner)
        if found is None:
            continue
        held.enter_context(found)
        # Whoever held it a moment ago may have finished it.
        if trained(job, this.layout) is None:
            claims[job.job_id] = found
    return claims


def _begin(this: PackRound, job: FinetuneJob) -> Attempt | None:
    """Writes an attempt down before it starts; None where it need not be made."""
    missing = _missing_input(this, job)
    if missing:
        this.fail(job, missing, is_final=True)
        return None
    folder = this.layout.job(job.job_id)
    earlier = attempts_of(folder)
    if earlier and is_exhausted(BY_NAME[earlier[-1].error_class or "TransientError"](""), earlier, this.run_key) and earlier[-1].run_key == this.run_key:
        # Nobody was left to write that down when the last attempt was killed.
        this.fail(job, ExhaustedError("Training was killed again and again without getting any further.", "The logs of its attempts say where."))
        return None
    try:
        size = micro_batch_size(job, this.pack.resources, earlier, this.run_key, _usual_micro_batch_size(this, job))
    except DtxError as error:
        this.fail(job, error)
        return None
    _bring_inputs(job, this.layout)
    step = resume(folder, this.pack.resources, with_best=job.hyperparameters.load_best_model_at_end)
    attempt = Attempt(
        number=earlier[-1].number + 1 if earlier else 1,
        run_key=this.run_key,
        micro_batch_size=size,
        started_from_step=step,
        reached_step=step,
        error_class="TransientError",
    )
    for rank in range(this.pack.resources.num_processes):
        remove(f"{folder}/scratch/outcome-{rank}.json")
    # What an earlier round gave up says nothing about this one.
    forget_failure("train", job.job_id, this.pack, this.layout)
    # Until it ends otherwise it counts as killed: nobody may be left to write that down.
    write_record(f"{folder}/attempts/{attempt.number}.json", attempt)
    return attempt


def _usual_micro_batch_size(this: PackRound, job: FinetuneJob) -> int:
    rows = read_record(f"{this.layout.prepared(job.prepared_id)}/prepared.json", PreparedDataset)
    assert rows is not None
    return usual_micro_batch_size(rows.train, num_gpus() > 0)


def _missing_input(this: PackRound, job: FinetuneJob) -> DtxError | None:
    if inputs_of(job, this.layout) is not None and _can_be_scored(this, job):
        return None
    stages = (("prepare", job.prepared_id), ("fetch", job.llm.llm_id), *([("fetch", job.reward.llm_id)] if job.reward else []))
    known = [reason(stage, item_id, this.pack, this.layout) for stage, item_id in stages]
    return next((error for error in known if error), TransientError(f"{job.name}: its prepared rows are not on storage.", "The prepare stage says why."))


def _can_be_scored(this: PackRound, job: FinetuneJob) -> bool:
    """Whether a job's rows are good for this experiment: those of another one's may be longer than its scoring reads."""
    rows = read_record(f"{this.layout.prepared(job.prepared_id)}/prepared.json", PreparedDataset)
    return rows is not None and rows.is_whole_at(this.pack.scoring.scoring.likelihood_cutoff_len)


def _end(this: PackRound, job: FinetuneJob, attempt: Attempt, held: Claim, exit_code: int, killed: Outcome) -> None:
    """Publishes a job's checkpoint, or writes down why there is none."""
    folder = this.layout.job(job.job_id)
    outcome = outcome_of(this, folder, exit_code, killed)
    try:
        if not outcome.error_class:
            _publish(job, outcome, held, this.layout, f"{this.pack.experiment_name} {this.pack.plan_id}")
            forget_failure("train", job.job_id, this.pack, this.layout)
    except ClaimedError as fault:
        # Its files are the other owner's now: nothing of this attempt counts.
        print(json.dumps({"event": "taken_over", "message": fault.message}), flush=True)
        return
    except OSError as fault:
        outcome = Outcome(error_class="TransientError", message=f"The checkpoint could not be published: {fault}")
    reached = last_step(f"{folder}/scratch", this.pack.resources)
    ended = attempt.model_copy(update={"error_class": outcome.error_class, "reached_step": max(reached, attempt.reached_step), "is_over": True})
    write_record(f"{folder}/attempts/{attempt.number}.json", ended)
    if outcome.error_class and held.is_mine():
        error = BY_NAME[outcome.error_class](outcome.message, outcome.hint)
        this.fail(job, error, is_exhausted(error, attempts_of(folder), this.run_key))


def _publish(job: FinetuneJob, outcome: Outcome, held: Claim, layout: Layout, made_for: str) -> None:
    """Moves the checkpoint to its place and vouches for it, unless somebody took the job over."""
    folder = layout.job(job.job_id)
    held.check()
    remove(f"{folder}/result.json")
    files = put_folder(workplace(f"{folder}/scratch") / "final", f"{folder}/checkpoint")
    held.check()
    record = LLMCheckpoint(
        code_version=CODE_VERSIONS["train"],
        inputs=inputs_of(job, layout) or {},
        digest=digest_of([entry.model_dump() for entry in files], 64),
        libraries=outcome.libraries,
        made_for=made_for,
        job_id=job.job_id,
        finetuning_type=job.hyperparameters.finetuning_type,
        files=files,
        num_steps=outcome.num_steps,
        num_trained_tokens=outcome.num_trained_tokens,
        final_loss=outcome.final_loss,
        best_step=outcome.best_step,
        validation_loss=outcome.validation_loss,
        num_trained_parameters=outcome.num_trained_parameters,
        num_parameters=outcome.num_parameters,
        train_s=outcome.train_s,
        peak_memory_bytes=outcome.peak_memory_bytes,
        epoch=held.epoch,
    )
    write_record(f"{folder}/result.json", record)
    remove(f"{folder}/scratch")
    forget_machine(folder)


def _verdict(this: PackRound) -> int:
    """0 when the pack is done; else raises the failure that counts, one that can be retried first."""
    open_jobs = this.open_jobs()
    retryable = [record for job in open_jobs if (record := this.failure(job)) and record.run_key == this.run_key]
    if len(retryable) < len(open_jobs):
        raise ClaimedError(f"{len(open_jobs) - len(retryable)} of {len(this.pack.jobs)} jobs are being trained by another run.")
    if not retryable and any(trained(job, this.layout) for job in this.pack.jobs):
        return 0
    record = (retryable or [record for job in this.pack.jobs if (record := this.failure(job))])[0]
    raise BY_NAME[record.error_class](record.message, record.hint)
