"""One rank of a pack: trains the named jobs one after the other, and says of each how it ended."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback

import torch

from dtx_tasks.errors import LOST_PEER, NO_OPERATOR, OUT_OF_MEMORY, DtxError, ResourceError, SpecError, TransientError
from dtx_tasks.records import FinetuneJob, Layout, Pack
from dtx_tasks.storage import read_record, write_record
from dtx_tasks.tether import end_with_parent
from dtx_tasks.train.folder import JobFolder
from dtx_tasks.train.job import train_job
from dtx_tasks.train.outcome import failed


def main() -> int:
    """Reads the pack, trains its jobs, writes one outcome each; the exit code is 0 when none is left without one."""
    # Not SIGKILL: there is time for a last checkpoint.
    end_with_parent(signal.SIGTERM)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--document", required=True, help="URI of the pack's document")
    parser.add_argument("--jobs", required=True, help="ids of the jobs to train, separated by commas")
    options = parser.parse_args()
    layout = Layout.of(options.document)
    pack = read_record(options.document, Pack)
    if pack is None:
        raise SystemExit(f"{options.document} is no pack")
    wanted = options.jobs.split(",")
    for job in pack.jobs:
        if job.job_id in wanted and not _train(job, pack, layout):
            return 1
    if torch.distributed.is_initialized():
        # Without it one DeepSpeed run of eighty ends with a signal after everything is saved (measured).
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return 0


def _train(job: FinetuneJob, pack: Pack, layout: Layout) -> bool:
    """Trains one job; whether the next one can be tried in the same processes."""
    # Said by the launcher; torch's process group does not exist yet.
    rank, num_ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = JobFolder.of(layout, job, rank == 0, rank // pack.resources.processes)
    attempt = folder.attempt()
    try:
        with folder.locked():
            outcome = train_job(job, pack.resources, folder, attempt)
    except Exception as error:  # noqa: BLE001 - whatever went wrong becomes this job's outcome, with its traceback
        traceback.print_exc()
        outcome = failed(_classified(error, f"{attempt.micro_batch_size} rows of at most {job.hyperparameters.cutoff_len} tokens in one pass"))
    if rank == 0 or outcome.error_class:
        write_record(folder.outcome_uri(rank), outcome)
    # A diverged job is seen by every rank at the same step; after any other failure the ranks may be out of step.
    # Whoever was asked to stop, or lost its storage, begins nothing more.
    if outcome.error_class in ("", "DivergedError"):
        return True
    return num_ranks == 1 and outcome.error_class not in ("TransientError", "PreemptedError")


def _classified(error: Exception, asked_for: str) -> DtxError:
    if isinstance(error, DtxError):
        return error
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return ResourceError(f"Out of memory with {asked_for}: {error}", "The next attempt uses half the micro batch.")
    if any(words in str(error) for words in LOST_PEER):
        return TransientError(f"Another rank is gone: {error}", "Its own failure, if it had one, says more.")
    if isinstance(error, OSError):
        return TransientError(f"{type(error).__name__}: {error}")
    return _impossible(error) or DtxError("".join(traceback.format_exception(error)).strip())


def _impossible(error: Exception) -> SpecError | None:
    """What this model, or this machine, can never do."""
    if isinstance(error, ValueError) and "Target modules" in str(error):
        return SpecError(f"lora_target fits no module of the model: {error}", "Use `all`, or names of its linear layers.")
    if any(words in str(error) for words in NO_OPERATOR):
        remedy = "Install a C++ compiler (g++) and ninja, or set resources.fsdp in place of resources.deepspeed."
        return SpecError("DeepSpeed on CPUs compiles an operator when it starts, which failed: the log says how.", remedy)
    return None


if __name__ == "__main__":
    sys.exit(main())
