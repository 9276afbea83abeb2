"""The pages, from records to HTML: what an author wrote is shown, never run as a template."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dtx_tasks.records import BaseDocument, BestVersion, FetchedLLM, Pack, PreparedDataset, PrepareDocument, RegisteredLLM, ScoreCards
from dtx_tasks.report.curves import colour_of, draw, read_curve
from dtx_tasks.report.figures import FILTERS
from dtx_tasks.storage import exists, is_claimed, read_record
from dtx_tasks.tracking import run_url
from dtx_tasks.web.progress import failure_of, failures_of, progress_of

if TYPE_CHECKING:
    from dtx_tasks.records import StageDocument
    from dtx_tasks.web.experiment import RunExperiment


def run_page(it: RunExperiment, root: str) -> str:
    """The page of a DAG run.

    Args:
        it: The run and its plan.
        root: The path that the app is mounted at.
    """
    verdict = read_record(f"{it.folder}/verdict.json", BestVersion)
    packs = [(pack, [progress_of(job, it) for job in pack.jobs]) for pack in it.plan.packs]
    jobs = [job for _, found in packs for job in found]
    return _render(
        "run.html.jinja",
        **_shared(it, root),
        verdict=verdict,
        registered=read_record(f"{it.folder}/registered.json", RegisteredLLM) if verdict and not verdict.is_base else None,
        packs=packs,
        job_urls={found.job.job_id: found.mlflow_url for found in jobs},
        share=sum(job.share for job in jobs) / max(1, len(jobs)),
        num_scored=sum(job.cards is not None for job in jobs),
        num_running=sum(job.is_running for job in jobs),
        num_fetched=sum(exists(f"{it.layout.llm(base.llm.llm_id)}/fetched.json") for base in it.plan.fetched),
        num_prepared=sum(exists(f"{it.layout.prepared(document.prepared_id)}/prepared.json") for document in it.plan.prepared),
        failures=failures_of(it),
        names=_names(it),
    )


def task_page(it: RunExperiment, document: StageDocument, task_id: str, root: str) -> str:
    """The page of a mapped task.

    Args:
        it: The run and its plan.
        document: What the task works on.
        task_id: Of the task.
        root: The path that the app is mounted at.
    """
    shared = {**_shared(it, root), "task_id": task_id, "document": document}
    if isinstance(document, Pack):
        return _render("pack.html.jinja", **shared, **_of_pack(document, it))
    if isinstance(document, PrepareDocument):
        return _render("prepare.html.jinja", **shared, **_of_dataset(document, it))
    assert isinstance(document, BaseDocument)
    return _render("base.html.jinja", **shared, **(_of_fetch if task_id == "fetch" else _of_base)(document, it))


def message_page(title: str, message: str, root: str, *, refreshes: bool = False) -> str:
    """A page that says why there is nothing to show.

    Args:
        title: In a few words.
        message: And what to do about it.
        root: The path that the app is mounted at.
        refreshes: There may be something soon.
    """
    return _render("message.html.jinja", title=title, message=message, root=root, refreshes=refreshes)


def _shared(it: RunExperiment, root: str) -> dict[str, Any]:
    """What every page of an experiment shows."""
    has_report = exists(f"{it.folder}/report.html")
    return {"it": it, "root": root, "mlflow_url": run_url(it.run, it.layout), "has_report": has_report, "refreshes": not has_report}


def _of_pack(pack: Pack, it: RunExperiment) -> dict[str, Any]:
    curves = [read_curve(job.name, f"{it.layout.job(job.job_id)}/events.jsonl") for job in pack.jobs]
    return {"jobs": [progress_of(job, it) for job in pack.jobs], "curves": curves, "svg": draw(curves)}


def _of_dataset(document: PrepareDocument, it: RunExperiment) -> dict[str, Any]:
    folder = it.layout.prepared(document.prepared_id)
    return {
        "prepared": read_record(f"{folder}/prepared.json", PreparedDataset),
        "failure": failure_of(("prepare",), document.prepared_id, it),
        "is_running": is_claimed(f"{folder}/claim.json"),
    }


def _of_fetch(document: BaseDocument, it: RunExperiment) -> dict[str, Any]:
    folder = it.layout.llm(document.llm.llm_id)
    return {
        "fetched": read_record(f"{folder}/fetched.json", FetchedLLM),
        "cards": None,
        "failure": failure_of(("fetch",), document.llm.llm_id, it),
        "is_running": is_claimed(f"{folder}/claim.json"),
    }


def _of_base(document: BaseDocument, it: RunExperiment) -> dict[str, Any]:
    scores = it.layout.score(document.llm.llm_id, it.plan.scoring.scoring_id)
    return {
        **_of_fetch(document, it),
        "cards": read_record(f"{scores}/scores.json", ScoreCards),
        "failure": failure_of(("score_base", "fetch"), document.llm.llm_id, it),
        "is_running": is_claimed(f"{scores}/claim.json"),
    }


def _names(it: RunExperiment) -> dict[str, str]:
    """What people call the items of failures."""
    names = {job.job_id: job.name for job in it.plan.jobs}
    names |= {base.llm.llm_id: base.llm.name for base in it.plan.bases}
    return names | {document.prepared_id: document.dataset.name for document in it.plan.prepared}


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    environment = Environment(loader=PackageLoader("dtx_tasks.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {**FILTERS, "size": _size}
    environment.globals["colour"] = colour_of
    return environment


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.1f} MiB"
