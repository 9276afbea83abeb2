"""Starts the training processes of a pack by `accelerate launch`, and ends with them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

from dtx_tasks.catalog import config_folder
from dtx_tasks.entrypoints.extensions import extensions_folder, free_stale_locks
from dtx_tasks.entrypoints.gpus import num_gpus
from dtx_tasks.entrypoints.nodes import PORT
from dtx_tasks.settings import grace_s
from dtx_tasks.tether import adopt_orphans, end_with_parent, reap_orphans

if TYPE_CHECKING:
    from dtx_tasks.entrypoints.nodes import Node
    from dtx_tasks.records import Pack

POLL_S = 0.2


def run_ranks(pack: Pack, document_uri: str, job_ids: list[str], node: Node) -> int:
    """Trains jobs and waits for the end of every process that takes part.

    Args:
        pack: Whose jobs, and on what.
        document_uri: Of the pack.
        job_ids: The jobs to train.
        node: The machine that this is.

    Returns:
        The launcher's exit code; launchers collapse the ranks' codes, so their outcomes say more.
    """
    program = ["--module", "dtx_tasks.train", "--document", document_uri, "--jobs", ",".join(job_ids)]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch_arguments(pack, node), *program]
    if pack.resources.deepspeed:
        free_stale_locks(extensions_folder())
    adopt_orphans()
    launcher = subprocess.Popen(command, env=_environment(pack), start_new_session=True, preexec_fn=_tether)
    previous = signal.signal(signal.SIGTERM, lambda _number, _frame: _tell_all(signal.SIGTERM))
    try:
        exit_code = launcher.wait()
        _wait_for_the_rest()
    finally:
        signal.signal(signal.SIGTERM, previous)
        _tell_all(signal.SIGKILL)
    return exit_code


def launch_arguments(pack: Pack, node: Node) -> list[str]:
    """What `accelerate launch` is told on one machine."""
    resources, config = pack.resources, config_folder()
    kind = "deepspeed" if resources.deepspeed else resources.strategy
    # Without a file accelerate takes the one in the home folder, if there is any.
    arguments = ["--config_file", str(config / "accelerate" / f"{kind}.yaml"), "--mixed_precision", "no", "--dynamo_backend", "no"]
    arguments += ["--num_machines", str(resources.nodes), "--num_processes", str(resources.num_processes)]
    if resources.deepspeed:
        arguments += ["--deepspeed_config_file", str(config / "deepspeed" / f"{resources.strategy}.json")]
    if resources.nodes > 1:
        arguments += ["--machine_rank", str(node.rank), "--main_process_ip", node.coordinator, "--main_process_port", str(PORT), "--rdzv_backend", "static"]
    elif kind != "one":
        arguments += ["--main_process_port", str(_free_port())]
    return arguments


def _environment(pack: Pack) -> dict[str, str]:
    cores = os.cpu_count() or 1
    threads = pack.resources.cpus or max(1, cores // (pack.parallelism * pack.resources.processes))
    quiet = {
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONWARNINGS": "ignore::FutureWarning",
        # Otherwise torchrun kills ranks after 30 s.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(grace_s() * 2 / 3)),
        "DS_ACCELERATOR": "cuda" if num_gpus() else "cpu",
    }
    return {**os.environ, **quiet, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(threads)}


def _tether() -> None:
    end_with_parent(signal.SIGTERM)


def _wait_for_the_rest() -> None:
    """The launcher may end before its ranks have written their checkpoint; ranks may have sessions of their own."""
    deadline = time.monotonic() + grace_s() * 0.8
    while time.monotonic() < deadline:
        reap_orphans()
        if not psutil.Process().children(recursive=True):
            return
        time.sleep(POLL_S)


def _tell_all(number: signal.Signals) -> None:
    """Signals every process below this one: orphans are its children too."""
    for process in psutil.Process().children(recursive=True):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
