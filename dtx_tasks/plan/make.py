"""The matrix as jobs, the jobs as packs."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from dtx_tasks.errors import Mistake, SpecError
from dtx_tasks.plan.continued import continued
from dtx_tasks.plan.fit import unfit
from dtx_tasks.plan.identity import encode_options, job_id, plan_id, prepared_id, scoring_id
from dtx_tasks.plan.steps import amount_of, num_steps
from dtx_tasks.records import BaseDocument, ExperimentPlan, FinetuneJob, Pack, PrepareDocument, ScoringDocument, digest_of, slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtx_tasks.plan.inputs import ResolvedInputs
    from dtx_tasks.records import DatasetSource, LLMSource
    from dtx_tasks.spec import Combination, FinetuneExperiment, JobEntry
    from dtx_tasks.spec.base import SpecModel


class Cell(NamedTuple):
    """One combination, by the names of its parts."""

    llm: str
    dataset: str
    hyperparameters: str
    seed: int


def make_plan(inputs: ResolvedInputs) -> ExperimentPlan:
    """Everything that an experiment comes to.

    Args:
        inputs: The experiment with nothing left to look up.

    Raises:
        SpecError: The experiment names no job, excludes a combination that does not exist, or has parts that do not fit.
    """
    experiment = inputs.experiment
    grid = _named(cells(experiment))
    parts = ((cell.hyperparameters, inputs.groups[cell.hyperparameters], inputs.datasets[cell.dataset]) for cell, _ in grid)
    mistakes = list(unfit(parts, inputs.scoring))
    if mistakes:
        raise _refused(*mistakes)
    named = [_job(cell, inputs) for cell in grid]
    jobs, merged = _distinct(named)
    # Jobs that learn the same rows are one, but their Datasets may differ in the rows to score on.
    datasets = [inputs.datasets[name] for name in sorted({job.dataset_name for job in named})]
    scoring_name = scoring_id(inputs.scoring, datasets)
    llms = {job.llm.llm_id: job.llm for job in jobs}
    identity = plan_id(experiment, [*(job.job_id for job in jobs), *llms], scoring_name)
    common = {"team": experiment.team, "experiment_name": experiment.name, "plan_id": identity}
    prepared = _prepared(named, inputs, common)
    scoring = ScoringDocument(
        scoring_id=scoring_name,
        scoring=inputs.scoring,
        datasets={dataset.name: tuple(dict.fromkeys(job.prepared_id for job in named if job.dataset_name == dataset.name)) for dataset in datasets},
    )
    run = {"scoring": scoring, "resources": experiment.resources, "parallelism": experiment.parallelism}
    return ExperimentPlan(
        plan_id=identity,
        team=experiment.team,
        name=experiment.name,
        description=experiment.description,
        datasets=tuple(datasets),
        prepared=prepared,
        packs=tuple(_pack((job,), common, run) for job in jobs),
        bases=tuple(_base(llm, prepared, common, run) for llm in llms.values()),
        rewards=tuple(_reward(llm, common, run) for llm in {job.reward.llm_id: job.reward for job in jobs if job.reward}.values()),
        merged=merged,
        leakage="; ".join(_leakage(inputs, datasets)),
        notes=inputs.notes,
        selection=experiment.selection,
        registered_name=experiment.registered_name or experiment.name.replace("/", "-").replace(":", "-"),
        versions=inputs.versions,
        **run,
    )


def cells(experiment: FinetuneExperiment) -> list[Cell]:
    """The combinations that an experiment names, in the order in which it names them."""
    found: list[Cell] = []
    if experiment.matrix:
        matrix = experiment.matrix
        llms, datasets, groups = ([name_of(item) for item in axis] for axis in (matrix.llms, matrix.datasets, matrix.hyperparameters))
        grid = [Cell(llm, dataset, group, seed) for llm, dataset, group, seed in product(llms, datasets, groups, matrix.seeds)]
        _refuse_idle_exclusions(grid, matrix.exclude)
        found = [cell for cell in grid if not any(_agrees(cell, rule) for rule in matrix.exclude)]
        found += [_entry_cell(entry) for entry in matrix.include]
    found += [_entry_cell(entry) for entry in experiment.jobs]
    if not found:
        remedy = "Add a `matrix` of llms, datasets and hyperparameters, or a list of `jobs`."
        raise _refused(Mistake("", "the experiment names no job", remedy))
    return found


def name_of(reference: str | SpecModel) -> str:
    """The name by which a resource is known, whether referred to or defined in place."""
    return reference if isinstance(reference, str) else str(reference.name)  # type: ignore[attr-defined]


def _entry_cell(entry: JobEntry) -> Cell:
    return Cell(name_of(entry.llm), name_of(entry.dataset), name_of(entry.hyperparameters), entry.seed)


def _agrees(cell: Cell, rule: Combination) -> bool:
    return all(getattr(cell, key) == value for key, value in rule.model_dump(exclude_none=True).items())


def _refuse_idle_exclusions(grid: list[Cell], rules: tuple[Combination, ...]) -> None:
    mistakes = []
    for index, rule in enumerate(rules):
        wanted = rule.model_dump(exclude_none=True)
        if not wanted or not any(_agrees(cell, rule) for cell in grid):
            remedy = "Name an llm, a dataset, a hyperparameter group or a seed of this matrix."
            mistakes.append(Mistake(f"matrix.exclude[{index}]", f"excludes nothing (got {wanted})", remedy))
    if mistakes:
        raise _refused(*mistakes)


def _refused(*mistakes: Mistake) -> SpecError:
    return SpecError("\n".join(mistake.text("the experiment") for mistake in mistakes), mistakes=mistakes)


def _named(grid: list[Cell]) -> list[tuple[Cell, str]]:
    """Each cell with the name of its job; the seed is part of it where it tells jobs apart."""
    seeds_matter = len({cell.seed for cell in grid}) > 1
    return [(cell, " / ".join(cell[:3]) + (f" / seed {cell.seed}" if seeds_matter else "")) for cell in grid]


def _job(named: tuple[Cell, str], inputs: ResolvedInputs) -> FinetuneJob:
    cell, name = named
    llm, dataset = inputs.llms[cell.llm], inputs.datasets[cell.dataset]
    values = continued(llm, inputs.groups[cell.hyperparameters])
    amount, reward = amount_of(dataset, values), inputs.rewards.get(cell.hyperparameters)
    steps = num_steps(values, amount.num_rows)
    return FinetuneJob(
        job_id=job_id(llm, dataset, values, cell.seed, reward),
        name=name,
        llm=llm,
        reward=reward,
        dataset_name=dataset.name,
        group_name=cell.hyperparameters,
        prepared_id=prepared_id(llm, dataset, encode_options(values)),
        hyperparameters=values,
        difference=inputs.differences.get(cell.hyperparameters),
        seed=cell.seed,
        num_steps=steps,
        num_tokens=round(steps * amount.tokens_a_step(values)),
    )


def _leakage(inputs: ResolvedInputs, datasets: Iterable[DatasetSource]) -> Iterator[str]:
    if inputs.num_leaked_rows:
        yield f"{inputs.num_leaked_rows} rows are scored on and learned from too: {inputs.experiment.allow_leakage}"
    rewritten = [dataset.name for dataset in datasets if dataset.plugins]
    if rewritten:
        yield f"Leakage from and into other Datasets is not checked for {', '.join(rewritten)}: plugins make its rows when they are prepared"


def _distinct(jobs: Iterable[FinetuneJob]) -> tuple[list[FinetuneJob], dict[str, str]]:
    """The jobs that differ, and for each one left out the name of the job that it equals."""
    kept: dict[str, FinetuneJob] = {}
    merged: dict[str, str] = {}
    for job in jobs:
        first = kept.setdefault(job.job_id, job)
        if first is not job:
            merged[job.name] = first.name
    return list(kept.values()), merged


def _prepared(jobs: list[FinetuneJob], inputs: ResolvedInputs, common: dict[str, str]) -> tuple[PrepareDocument, ...]:
    documents: dict[str, PrepareDocument] = {}
    for job in jobs:
        dataset: DatasetSource = inputs.datasets[job.dataset_name]
        documents.setdefault(
            job.prepared_id,
            PrepareDocument(
                **common,
                name=_label(dataset.name, job.prepared_id),
                prepared_id=job.prepared_id,
                llm=job.llm,
                dataset=dataset,
                options=encode_options(job.hyperparameters),
                allow_leakage=inputs.experiment.allow_leakage,
                scored_cutoff_len=inputs.scoring.likelihood_cutoff_len,
            ),
        )
    return tuple(documents.values())


def _base(llm: LLMSource, prepared: tuple[PrepareDocument, ...], common: dict[str, str], run: dict[str, object]) -> BaseDocument:
    ids = tuple(document.prepared_id for document in prepared if document.llm.llm_id == llm.llm_id)
    return BaseDocument(**common, **run, name=_label(llm.name, llm.llm_id), llm=llm, prepared_ids=ids)


def _reward(llm: LLMSource, common: dict[str, str], run: dict[str, object]) -> BaseDocument:
    return BaseDocument(**common, **run, name=_label(llm.name, llm.llm_id), llm=llm, is_reward=True, prepared_ids=())


def _pack(jobs: tuple[FinetuneJob, ...], common: dict[str, str], run: dict[str, object]) -> Pack:
    identity = jobs[0].job_id if len(jobs) == 1 else digest_of([job.job_id for job in jobs])
    return Pack(**common, **run, name=_label(jobs[0].name, identity), pack_id=identity, jobs=jobs)


def _label(name: str, identity: str) -> str:
    """What the grid shows: at most 60 characters."""
    return f"{slug(name, 51)}-{identity[:8]}"
