"""A storage root with a tiny base and a little data, and experiments on it: for tests that train for real."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from safetensors.torch import load_file

from dtx_tasks.entrypoints.documents import PlanUris, note_run, write_plan
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.entrypoints.stages import STAGES, Call
from dtx_tasks.launch import LocalProcess
from dtx_tasks.records import Attempt, ExperimentPlan, FinetuneJob, Layout, LLMCheckpoint, RunReference
from dtx_tasks.resolve import Origin
from dtx_tasks.spec import Resources, SpecDocument
from dtx_tasks.storage import read_record

if TYPE_CHECKING:
    from dtx_tasks.train.folder import JobFolder

QUICK: dict[str, Any] = {"name": "quick", "max_steps": 4, "learning_rate": 5e-3, "lora_rank": 4, "global_batch_size": 4, "logging_steps": 1}

WORDS = (("apple", "苹果"), ("pear", "梨"), ("tea", "茶"), ("rice", "米"), ("salt", "盐"), ("milk", "牛奶"), ("bread", "面包"), ("egg", "鸡蛋"))


@dataclass(frozen=True)
class Trial:
    """One experiment on a storage root."""

    plan: ExperimentPlan
    uris: PlanUris
    root: str

    @property
    def layout(self) -> Layout:
        """Where its records are."""
        return Layout(self.root, self.plan.team)

    @property
    def folder(self) -> str:
        """The experiment's own folder."""
        return self.layout.experiment(self.plan.name, self.plan.plan_id)

    def here(self, stage: str, uri: str, run_key: str = "round-1") -> int:
        """Runs a stage in this process."""
        return STAGES[stage](Call(uri, run_key, "a test"))

    def ready(self) -> Trial:
        """Fetches and prepares, in this process."""
        for uri in self.uris.bases:
            self.here("fetch", uri)
        for uri in self.uris.prepare:
            self.here("prepare", uri)
        return self

    def process(self, stage: str, uri: str, run_key: str = "round-1", **environment: str) -> LocalProcess:
        """Starts a stage as a process of its own."""
        return LocalProcess(stage, uri, run_key, environment)

    def result(self, job: FinetuneJob | None = None) -> LLMCheckpoint | None:
        """What training wrote for a job, the first one by default."""
        return read_record(f"{self.job_folder(job)}/result.json", LLMCheckpoint)

    def job_folder(self, job: FinetuneJob | None = None) -> str:
        """The folder of a job, the first one by default."""
        return self.layout.job((job or self.plan.jobs[0]).job_id)

    def events(self, job: FinetuneJob | None = None) -> list[dict[str, Any]]:
        """What a job's training said."""
        path = Path(f"{self.job_folder(job)}/events.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def noted(self, run_id: str = "run-1") -> RunReference:
        """Notes that a run carries this plan out."""
        return note_run(self.plan, self.root, "finetune_experiment", run_id)


def make_trial(folder: Path, name: str = "trial", groups: list[dict[str, Any]] | None = None, **changes: Any) -> Trial:
    """An experiment on the folder's own data and storage, its documents written."""
    spec: dict[str, Any] = {
        "kind": "FinetuneExperiment",
        "name": name,
        "matrix": {"llms": [{"name": "tiny", "source": "made:tiny-test"}], "datasets": [write_data(folder)], "hyperparameters": groups or [QUICK]},
        "scoring": {"max_new_tokens": 4},
    } | changes
    plan = plan_document(SpecDocument("the test's spec", spec), Origin(folder))
    root = str(folder / "store")
    return Trial(plan, write_plan(plan, root), root)


def train(job: FinetuneJob, layout: Layout, work: Path, started_from_step: int = 0, micro_batch_size: int = 4) -> JobFolder:
    """Trains a job in this process, which costs no start; its folder is apart from the store's."""
    from dtx_tasks.train.folder import JobFolder
    from dtx_tasks.train.job import train_job

    folder = replace(JobFolder.of(layout, job, True, 0), uri=str(work))
    folder.work.mkdir(parents=True, exist_ok=True)
    attempt = Attempt(
        number=1, run_key="r", micro_batch_size=micro_batch_size, started_from_step=started_from_step, reached_step=started_from_step, error_class=""
    )
    train_job(job, Resources(), folder, attempt)
    return folder


def write_data(folder: Path, name: str = "words", num_rows: int = 32) -> dict[str, str]:
    """A Dataset to translate words, and its files."""
    rows = [
        {"instruction": f"{number}: {english}?", "output": chinese} for number in range(num_rows) for english, chinese in WORDS[number % 8 : number % 8 + 1]
    ]
    splits = {"train": rows[: num_rows // 2], "validation": rows[num_rows // 2 : -8], "test": rows[-8:]}
    for split, found in splits.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (folder / f"{name}.{split}.jsonl").write_text(text, encoding="utf-8")
    return {"name": name, **{split: f"{name}.{split}.jsonl" for split in splits}}


def processes_of(marker: str) -> list[psutil.Process]:
    """Living processes, this one aside, whose command line names something."""
    found = []
    for process in psutil.process_iter():
        try:
            named = process.pid != os.getpid() and any(marker in part for part in process.cmdline())
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def finish(process: LocalProcess) -> int:
    """Reads a process to its end; its exit code, and on the test's output what it said."""
    for line in process.lines():
        print(line)
    return process.wait()


def weights(trial: Trial) -> dict[str, torch.Tensor]:
    """The adapter that the first job of a trial ended with."""
    return load_file(f"{trial.job_folder()}/checkpoint/adapter_model.safetensors")


def losses(trial: Trial) -> dict[int, float]:
    """Loss by step; a step that was done again counts as it was done last."""
    return {event["step"]: event["loss"] for event in trial.events() if event["event"] == "step"}


def last_step(trial: Trial) -> int:
    """The last step that training told of."""
    return max([0, *losses(trial)])


def attempts(trial: Trial) -> list[dict[str, Any]]:
    """Every attempt at the first job, oldest first."""
    return [json.loads(path.read_text()) for path in sorted(Path(f"{trial.job_folder()}/attempts").glob("*.json"))]


def trainers(trial: Trial) -> list[Any]:
    """Living processes that train the trial's first pack."""
    return [process for process in processes_of(trial.uris.packs[0]) if "dtx_tasks.train" in process.cmdline()]


def forget(trial: Trial) -> None:
    """Removes what the first job of a trial left behind."""
    shutil.rmtree(trial.job_folder())
