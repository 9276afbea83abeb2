"""Values for tests: name what matters in a test, the rest is made up here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtx_tasks.plan import CODE_VERSIONS, ResolvedInputs
from dtx_tasks.plan import make_plan as plan_of_inputs
from dtx_tasks.plan.make import cells
from dtx_tasks.records import (
    Attempt,
    BaseDocument,
    DatasetSource,
    ExperimentPlan,
    FetchedLLM,
    FileSource,
    FinetuneJob,
    Layout,
    LLMCheckpoint,
    LLMSource,
    PreparedDataset,
    PrepareDocument,
    Score,
    ScoreCard,
    ScoreCards,
    SplitStatistics,
    digest_of,
)
from dtx_tasks.score.rows import scored_rows
from dtx_tasks.spec import Columns, FinetuneExperiment, Hyperparameters, Scoring, Tags
from dtx_tasks.storage import manifest_of, read_record, write_bytes, write_record
from dtx_tasks.train.record import inputs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPERIMENT: dict[str, Any] = {"name": "shop", "matrix": {"llms": ["base"], "datasets": ["rows"], "hyperparameters": ["quick"]}}


def make_experiment(**changes: Any) -> FinetuneExperiment:
    """An experiment of one job; a change replaces a top-level key."""
    return FinetuneExperiment.model_validate_json(json.dumps({**EXPERIMENT, **changes}))


def make_matrix(**changes: Any) -> dict[str, Any]:
    """The matrix of that experiment; a change replaces an axis."""
    return {**EXPERIMENT["matrix"], **changes}


def make_llm_source(name: str = "base", *, revision: str = "r1", template: str = "chatml") -> LLMSource:
    """A base LLM of a folder that nobody looks into."""
    return LLMSource(
        name=name,
        llm_id=digest_of(["llm", "local", revision, template]),
        kind="local",
        source="/models/base",
        revision=revision,
        template=template,
        num_bytes=4000,
    )


def make_dataset_source(name: str = "rows", *, num_rows: int = 20, problem: str = "", **changes: Any) -> DatasetSource:
    """A Dataset by the texts that stand for its files: `train`, `validation` and `test`; None for no such split."""
    texts = {"train": f"train of {name}", "validation": f"validation of {name}", "test": f"test of {name}"}
    texts |= {split: changes.pop(split) for split in tuple(texts) if split in changes}
    files = {split: _file_source(split, text, num_rows) for split, text in texts.items() if text is not None}
    values = {"format": "alpaca", "kind": "conversations", "columns": Columns(), "tags": Tags(), "max_samples": None, "split_seed": 42, **changes}
    return DatasetSource(name=name, files=files, problem=problem, **values)  # type: ignore[arg-type]


def _file_source(split: str, text: str, num_rows: int) -> FileSource:
    digest = sha256(text.encode()).hexdigest()
    return FileSource(path=f"/data/{split}.jsonl", label=f"{split}.jsonl", sha256=digest, num_bytes=100, num_rows=num_rows, num_characters=30 * num_rows)


def make_inputs(experiment: FinetuneExperiment | None = None, **known: dict[str, Any]) -> ResolvedInputs:
    """An experiment with every name resolved: each name is something else, unless `llms`, `datasets` or `groups` say otherwise."""
    experiment = experiment or make_experiment()
    named = cells(experiment)
    groups = {name: Hyperparameters(learning_rate=(rank + 1) / 1e4) for rank, name in enumerate(dict.fromkeys(cell.hyperparameters for cell in named))}
    return ResolvedInputs(
        experiment=experiment,
        llms={cell.llm: make_llm_source(cell.llm, revision=cell.llm) for cell in named} | known.get("llms", {}),
        datasets={cell.dataset: make_dataset_source(cell.dataset) for cell in named} | known.get("datasets", {}),
        groups=groups | known.get("groups", {}),
        scoring=experiment.scoring if isinstance(experiment.scoring, Scoring) else Scoring(),
    )


def make_plan(experiment: FinetuneExperiment | None = None, **known: dict[str, Any]) -> ExperimentPlan:
    """The plan of an experiment, as `make_inputs` resolves it."""
    return plan_of_inputs(make_inputs(experiment, **known))


def make_job(*, seed: int = 42, llm: LLMSource | None = None, dataset: DatasetSource | None = None, **values: Any) -> FinetuneJob:
    """The job of a plan of one; `values` are hyperparameters."""
    llm, dataset = llm or make_llm_source(), dataset or make_dataset_source()
    matrix = make_matrix(llms=[llm.name], datasets=[dataset.name], seeds=[seed])
    known: dict[str, Any] = {"llms": {llm.name: llm}, "datasets": {dataset.name: dataset}, "groups": {"quick": Hyperparameters(**values)}}
    return make_plan(make_experiment(matrix=matrix), **known).jobs[0]


def make_attempt(error_class: str = "TransientError", *, number: int = 1, run_key: str = "round", reached_step: int = 0, micro_batch_size: int = 16) -> Attempt:
    """One attempt at a job."""
    return Attempt(number=number, run_key=run_key, micro_batch_size=micro_batch_size, started_from_step=0, reached_step=reached_step, error_class=error_class)


def make_cards(
    plan: ExperimentPlan,
    checkpoint_id: str,
    *,
    checkpoint_digest: str = "checkpoint",
    rows_digest: str = "rows",
    higher_is_better: bool = True,
    is_cross_fitted: bool = False,
    left_out_datasets: tuple[str, ...] = (),
    **rows: Sequence[float],
) -> ScoreCards:
    """The cards of a checkpoint by the score of every row of `validation` and `test`; all metrics are equal."""
    cards = {split: _card(split, values, plan, higher_is_better) for split, values in rows.items()}
    return ScoreCards(
        code_version=CODE_VERSIONS["score"],
        inputs={"checkpoint": checkpoint_digest, "rows": rows_digest},
        digest=digest_of([checkpoint_id, checkpoint_digest, *({split: list(values)} for split, values in rows.items())]),
        libraries={},
        checkpoint_id=checkpoint_id,
        scoring_id=plan.scoring.scoring_id,
        rows_digest=rows_digest,
        is_cross_fitted=is_cross_fitted,
        left_out_datasets=left_out_datasets,
        cards=cards,  # type: ignore[arg-type]
        files=(),
        score_s=1.0,
    )


def _card(split: str, values: Sequence[float], plan: ExperimentPlan, higher_is_better: bool) -> ScoreCard:
    mean = sum(values) / len(values)
    scores = {
        metric: Score(metric=metric, value=mean, standard_error=0.01, num_rows=len(values), higher_is_better=higher_is_better)
        for metric in plan.scoring.scoring.metrics
    }
    return ScoreCard(split=split, num_rows=len(values), scores=scores)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Store:
    """A storage root on which the stages of a plan seem to have run."""

    root: Path | str
    plan: ExperimentPlan

    @property
    def layout(self) -> Layout:
        """Where everything is."""
        return Layout(str(self.root), self.plan.team)

    @property
    def folder(self) -> str:
        """The experiment's folder."""
        return self.layout.experiment(self.plan.name, self.plan.plan_id)

    def fetch(self, base: BaseDocument, digest: str = "base") -> None:
        """Lays out a fetched LLM."""
        folder = self.layout.llm(base.llm.llm_id)
        write_bytes(f"{folder}/files/config.json", b"{}")
        record = FetchedLLM(
            code_version=CODE_VERSIONS["fetch"],
            inputs={},
            digest=digest,
            libraries={},
            llm_id=base.llm.llm_id,
            files=manifest_of(f"{folder}/files"),
            num_parameters=1000,
        )
        write_record(f"{folder}/fetched.json", record)

    def prepare(self, document: PrepareDocument, **rows: list[str]) -> None:
        """Lays out a PreparedDataset; `validation` and `test` name the rows to score on."""
        folder = self.layout.prepared(document.prepared_id)
        for split, prompts in (rows or {"validation": ["v0", "v1"], "test": ["t0"]}).items():
            lines = [json.dumps({"row_id": digest_of(prompt), "messages": [{"role": "user", "content": prompt}], "answer": "yes"}) for prompt in prompts]
            write_bytes(f"{folder}/files/{split}.jsonl", "".join(f"{line}\n" for line in lines).encode())
        base = read_record(f"{self.layout.llm(document.llm.llm_id)}/fetched.json", FetchedLLM)
        record = PreparedDataset(
            code_version=CODE_VERSIONS["prepare"],
            inputs={"llm": base.digest if base else ""},
            digest="prepared",
            train_digest="train",
            libraries={},
            prepared_id=document.prepared_id,
            dataset_name=document.dataset.name,
            files=manifest_of(f"{folder}/files"),
            train=SplitStatistics(num_rows=2, num_tokens=20, num_trained_tokens=10, num_truncated=0, longest_tokens=10),
            num_scored_rows={},
            ignored_columns=(),
        )
        write_record(f"{folder}/prepared.json", record)

    def train(self, job: FinetuneJob, *, num_trained_parameters: int = 100, made_for: str | None = None) -> str:
        """Lays out a checkpoint and returns its digest."""
        folder = self.layout.job(job.job_id)
        write_bytes(f"{folder}/checkpoint/adapter.bin", job.job_id.encode())
        record = LLMCheckpoint(
            code_version=CODE_VERSIONS["train"],
            inputs=inputs_of(job, self.layout) or {"llm_id": job.llm.llm_id},
            digest=f"checkpoint of {job.job_id}",
            libraries={},
            made_for=made_for or f"{self.plan.name} {self.plan.plan_id}",
            job_id=job.job_id,
            finetuning_type="lora",
            files=manifest_of(f"{folder}/checkpoint"),
            num_steps=job.num_steps,
            num_trained_tokens=200,
            final_loss=0.5,
            num_trained_parameters=num_trained_parameters,
            num_parameters=1000,
            train_s=2.0,
            peak_memory_bytes=1 << 20,
            epoch=1,
        )
        write_record(f"{folder}/result.json", record)
        return record.digest

    def score(self, checkpoint_id: str, checkpoint_digest: str, **settings: Any) -> ScoreCards:
        """Lays out the cards of a checkpoint with its predictions: a job's, or those of a base."""
        cards = make_cards(self.plan, checkpoint_id, checkpoint_digest=checkpoint_digest, **settings)
        folder = self.layout.score(checkpoint_id, self.plan.scoring.scoring_id)
        lines = [
            json.dumps(_prediction(split, number, value, self.plan), ensure_ascii=False)
            for split in ("validation", "test")
            for number, value in enumerate(settings.get(split, ()))
        ]
        write_bytes(f"{folder}/files/predictions.jsonl", "".join(f"{line}\n" for line in lines).encode())
        write_record(f"{folder}/scores.json", cards.model_copy(update={"files": manifest_of(f"{folder}/files")}))
        return cards

    def score_job(self, job: FinetuneJob, *, num_trained_parameters: int = 100, **settings: Any) -> None:
        """Lays out a trained and scored job."""
        self.score(job.job_id, self.train(job, num_trained_parameters=num_trained_parameters), **settings)

    def finish(self) -> None:
        """Lays out every record of the plan as its stages would: valid, and on the same rows."""
        for base in self.plan.bases:
            self.fetch(base)
        for document in self.plan.prepared:
            self.prepare(document)
        rows = scored_rows(self.plan.scoring, self.layout).digest
        for job in self.plan.jobs:
            self.score_job(job, rows_digest=rows, validation=[1.0, 1.0], test=[1.0])
        for base in self.plan.bases:
            self.score(base.llm.llm_id, "base", rows_digest=rows, validation=[0.0, 0.0], test=[0.0])


def _prediction(split: str, number: int, value: float, plan: ExperimentPlan) -> dict[str, Any]:
    return {
        "row_id": f"{split}-{number:04}",
        "split": split,
        "messages": [{"role": "user", "content": f"question {number} of {split}"}],
        "reference": "the right answer",
        "prediction": f"answer worth {value}",
        "scores": dict.fromkeys(plan.scoring.scoring.metrics, value),
    }


@dataclass(frozen=True)
class FakeData:
    """Writes files of a Dataset into a folder."""

    folder: Path

    def text(self, name: str, content: str | bytes) -> Path:
        """A file with this content."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def model(self, name: str, config: str = '{"model_type": "llama"}') -> Path:
        """The folder of a model, with this configuration and something for weights."""
        self.text(f"{name}/model.safetensors", "weights")
        return self.text(f"{name}/config.json", config).parent

    def jsonl(self, name: str, rows: Sequence[dict[str, Any]] | int = 3) -> Path:
        """A .jsonl file of these rows, or of so many made-up ones."""
        made = [{"instruction": f"{name} {number}", "output": "yes"} for number in range(rows)] if isinstance(rows, int) else rows
        return self.text(name, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in made))

    def splits(self, name: str = "rows") -> dict[str, str]:
        """Three files, as the `train`, `validation` and `test` of a Dataset."""
        return {split: str(self.jsonl(f"{name}.{split}.jsonl")) for split in ("train", "validation", "test")}

    def config(self) -> Path:
        """A configuration folder with the LLM `base`, the Dataset `rows`, the groups `quick` and `slow`, and this machine as the backend."""
        rows = self.splits("config/datasets/rows/rows")
        self.text("config/models/base.yaml", "name: base\nsource: made:tiny-test\n")
        self.text("config/datasets/rows.yaml", json.dumps({"name": "rows", **rows}))
        self.text("config/hyperparameters/quick.yaml", "name: quick\nmax_steps: 4\n")
        self.text("config/hyperparameters/slow.yaml", "name: slow\nextends: quick\nmax_steps: 8\n")
        self.text("config/backends/local.yaml", "kind: Backend\nname: local\nbackend: local\n")
        return self.folder / "config"
