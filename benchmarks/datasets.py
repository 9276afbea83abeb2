"""Datasets prepared and checked: rows a second beside LLaMA-Factory's preprocessing, and what a million rows need.

    python -m benchmarks.datasets                              # everything; about an hour on one core, and 12 GB of disk
    python -m benchmarks.datasets --rows 1000 --pairs 1 --sizes 1000 2000    # whether it works, in a minute once LLaMA-Factory is installed

Rows are made here: alpaca, half English and half Chinese, as long as those of LLaMA-Factory's demonstration files (on average 790 and 220 characters), of words
as frequent as Zipf's law has them; a byte-level BPE of 32,000 tokens is trained on such rows. LLaMA-Factory is installed from PyPI into an environment of its
own below `--folder`, where the rows stay too.

What is timed, each in a process of its own on one core, in alternating order, after its imports, of which the seconds are told beside it:
    llamafactory   `get_dataset` with `tokenized_path` and `preprocessing_num_workers: 1`: reads the file, aligns it, tokenises it with labels, saves it.
    ours           The prepare stage: checks that the file is the planned one, checks every row, loads the tokenizer, tokenises with labels, saves with digests.
The template is qwen, `cutoff_len` 1024, and the ids and labels of both are compared. The goal is twice its rows/s.

A million rows are then prepared, and checked as `dtx dataset check` does, duplicates over all rows and almost equal ones included: the goal is a peak below
2 GiB of memory for the process and its children, at a cost that is linear in rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pyarrow as pa

from benchmarks.material import LLAMA_FACTORY_VERSION, installed_llama_factory, make_rows, make_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOAL_RATIO = 2.0
GOAL_BYTES = 2 << 30
CUTOFF_LEN = 1024
LLAMA_FACTORY = """
import json, os, sys, time
began = time.perf_counter()
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
model_args, data_args, training_args, _, _ = get_train_args(json.loads(sys.argv[1]))
loaded = load_tokenizer(model_args)
template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_args)
ready, used_s = time.perf_counter(), sum(os.times()[:4])
get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)
print(json.dumps({"start_s": ready - began, "work_s": time.perf_counter() - ready, "cpu_s": sum(os.times()[:4]) - used_s}))
"""
"""As its own workflow of supervised fine-tuning begins (train/sft/workflow.py, 0.9.5)."""


@dataclass(frozen=True)
class Cost:
    """What one process needed.

    Attributes:
        start_s: Its imports, by the clock.
        work_s: Its work, by the clock.
        cpu_s: The same in seconds of CPU: on a machine that others use too, they tell more.
        most_bytes: The most memory that it and its children had at a time.
    """

    start_s: float
    work_s: float
    cpu_s: float
    most_bytes: int


def main() -> int:
    """Prints every run, the ratio and the costs by size; fails below the goals."""
    options = _options()
    if options.work:
        _work(options)
        return 0
    folder = Path(options.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(folder / "base")
    is_fast = _compare(folder, options) if options.pairs else True
    is_small = _grow(folder, options)
    return int(not (is_fast and is_small))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the comparison")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each in the comparison; 0 leaves it out")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="rows that ours prepares and checks")
    parser.add_argument("--llamafactory", default=LLAMA_FACTORY_VERSION, help="its version")
    parser.add_argument("--core", type=int, default=0, help="the core that everything runs on")
    parser.add_argument("--folder", default="/var/tmp/dtx-datasets", help="kept: the rows, the tokenizer and LLaMA-Factory's environment")
    parser.add_argument("--work", choices=("plan", "prepare", "check"), help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(folder: Path, options: argparse.Namespace) -> bool:
    python = installed_llama_factory(folder / f"llamafactory-{options.llamafactory}", options.llamafactory)
    name = make_rows(folder, options.rows)
    ratios, cpu_ratios = [], []
    for number in range(options.pairs):
        took = {}
        for tool in ("ours", "llamafactory")[:: -1 if number % 2 else 1]:
            took[tool] = _prepared(folder, name, options.core) if tool == "ours" else _preprocessed(folder, name, python, options.core)
            print(f"pair {number + 1}: {tool} {options.rows / took[tool].work_s:.0f} rows/s ({_shown(took[tool])})", flush=True)
        ratios.append(took["llamafactory"].work_s / took["ours"].work_s)
        cpu_ratios.append(took["llamafactory"].cpu_s / took["ours"].cpu_s)
    print(f"ids and labels are the same in {_num_same(folder, name)} of {options.rows} rows")
    for unit, found in (("second", ratios), ("second of CPU", cpu_ratios)):
        spread = f"{min(found):.2f} to {max(found):.2f}, {len(found)} pairs"
        print(f"{statistics.median(found):.2f}x of the rows a {unit} of LLaMA-Factory {options.llamafactory} ({spread})")
    return statistics.median(ratios) >= GOAL_RATIO


def _grow(folder: Path, options: argparse.Namespace) -> bool:
    most_bytes = 0
    for num_rows in options.sizes:
        name = make_rows(folder, num_rows)
        costs = {"prepare": _prepared(folder, name, options.core), "check": _ours("check", folder, name, options.core)}
        for work, cost in costs.items():
            print(
                f"{num_rows} rows: {work} {cost.work_s / num_rows * 1e6:.0f} us/row, CPU {cost.cpu_s / num_rows * 1e6:.0f} us/row ({_shown(cost)})", flush=True
            )
        most_bytes = max(most_bytes, *(cost.most_bytes for cost in costs.values()))
    return most_bytes < GOAL_BYTES


def _shown(cost: Cost) -> str:
    return f"{cost.work_s:.1f} s, CPU {cost.cpu_s:.1f} s, {cost.most_bytes / 2**20:.0f} MiB at most, {cost.start_s:.1f} s to start"


def _prepared(folder: Path, name: str, core: int) -> Cost:
    shutil.rmtree(_store(folder, name), ignore_errors=True)
    _ours("plan", folder, name, core)
    return _ours("prepare", folder, name, core)


def _ours(work: str, folder: Path, name: str, core: int) -> Cost:
    return _cost([sys.executable, "-m", "benchmarks.datasets", "--work", work, "--folder", str(folder), "--name", name], core, {})


def _preprocessed(folder: Path, name: str, python: Path, core: int) -> Cost:
    shutil.rmtree(folder / "hf", ignore_errors=True)
    shutil.rmtree(_reference(folder, name), ignore_errors=True)
    registry = {name: {"file_name": f"{name}.jsonl"}}
    (folder / "dataset_info.json").write_text(json.dumps(registry))
    arguments = {
        "model_name_or_path": str(folder / "base"),
        "dataset_dir": str(folder),
        "dataset": name,
        "template": "qwen",
        "cutoff_len": CUTOFF_LEN,
        "preprocessing_num_workers": 1,
        "tokenized_path": str(_reference(folder, name)),
        "output_dir": str(folder / "hf/out"),
        "stage": "sft",
        "do_train": True,
        "use_cpu": True,
        "report_to": "none",
    }
    return _cost([str(python), "-c", LLAMA_FACTORY, json.dumps(arguments)], core, {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"})


def _cost(command: list[str], core: int, environment: dict[str, str]) -> Cost:
    """Runs a command that ends with its seconds as JSON, on one core."""
    # What an earlier run left to be written is not this one's to wait for.
    os.sync()
    with subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        most_bytes = 0
        while process.poll() is None:
            most_bytes = max(most_bytes, _tree_bytes(process.pid))
            time.sleep(0.1)
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Cost(**json.loads(said[-1]), most_bytes=most_bytes)


def _tree_bytes(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def _work(options: argparse.Namespace) -> None:
    """What is measured of ours, in a process of its own."""
    began = time.perf_counter()
    work = {"plan": _plan, "prepare": _prepare, "check": _check}[options.work](Path(options.folder), options.name)
    ready, used_s = time.perf_counter(), sum(os.times()[:4])
    work()
    print(json.dumps({"start_s": ready - began, "work_s": time.perf_counter() - ready, "cpu_s": sum(os.times()[:4]) - used_s}))


def _plan(folder: Path, name: str) -> Callable[[], object]:
    from dtx_tasks.entrypoints.documents import write_plan
    from dtx_tasks.entrypoints.planning import plan_document
    from dtx_tasks.resolve import Origin
    from dtx_tasks.spec import SpecDocument

    matrix = {
        "llms": [{"name": "base", "source": "base", "template": "qwen"}],
        "datasets": [json.loads((folder / f"{name}.yaml").read_text())],
        "hyperparameters": [{"name": "one", "max_steps": 1, "cutoff_len": CUTOFF_LEN}],
    }
    spec = {"kind": "FinetuneExperiment", "name": name, "matrix": matrix}

    def work() -> None:
        uris = write_plan(plan_document(SpecDocument("the benchmark's spec", spec), Origin(folder)), str(_store(folder, name)))
        (folder / f"{name}.uris.json").write_text(json.dumps([uris.bases[0], uris.prepare[0]]))

    return work


def _prepare(folder: Path, name: str) -> Callable[[], object]:
    import dtx_tasks.prepare.prepare  # noqa: F401 - the stage would import it when it begins
    from dtx_tasks.entrypoints.stages import STAGES, Call

    fetch, prepare = json.loads((folder / f"{name}.uris.json").read_text())
    STAGES["fetch"](Call(fetch, "benchmark", "the benchmark"))
    return lambda: STAGES["prepare"](Call(prepare, "benchmark", "the benchmark"))


def _check(folder: Path, name: str) -> Callable[[], object]:
    from dtx_tasks.cli.main import app

    return lambda: app(["dataset", "check", str(folder / f"{name}.yaml")], standalone_mode=False)


def _num_same(folder: Path, name: str) -> int:
    """Rows of which both made the same."""
    (ours,) = _store(folder, name).glob("*/prepared/*/files/train.arrow")
    theirs = sorted((_reference(folder, name) / "train").glob("*.arrow"))
    return sum(one == other for one, other in zip(_encoded([ours]), _encoded(theirs), strict=True))


def _encoded(paths: list[Path]) -> Iterator[tuple[list[int], list[int]]]:
    """Token ids and labels of each row."""
    for path in paths:
        for batch in pa.ipc.open_stream(str(path)):
            yield from zip(batch["input_ids"].to_pylist(), batch["labels"].to_pylist(), strict=True)


def _store(folder: Path, name: str) -> Path:
    return folder / f"store-{name}"


def _reference(folder: Path, name: str) -> Path:
    return folder / f"llamafactory-{name}"


if __name__ == "__main__":
    sys.exit(main())
