"""A training file of another program as an experiment, and what became of each of its lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import SpecError
from dtx_tasks.spec import OF_ADAPTERS, Hyperparameters, dump_text, idle_mistakes
from dtx_tasks.translate.axolotl import AXOLOTL
from dtx_tasks.translate.draft import Dialect, Draft, Ground, Said, assumed, impossible, shown, unneeded
from dtx_tasks.translate.llamafactory import LLAMAFACTORY

if TYPE_CHECKING:
    from dtx_tasks.spec import SpecDocument

DIALECTS = (LLAMAFACTORY, AXOLOTL)
HELD_OUT = 0.1
"""The share of rows that is held out to judge on, where a file says nothing of it."""

JUDGED = {"rm": "pairwise_accuracy", "sft": "perplexity", "pt": "perplexity", "dpo": "perplexity", "kto": "perplexity"}
WHY_JUDGED = {
    "pairwise_accuracy": "how often a reward model prefers the chosen answer.",
    "perplexity": "the exponential of the validation loss, which such a run is judged by. For answers name other metrics: docs/spec.md.",
    "rougeL": "predict_with_generate asks for answers.",
}


@dataclass(frozen=True)
class Line:
    """What became of one line.

    Attributes:
        key: Of the training file; what the file leaves open has the name that it has here.
        value: As it stood there; empty where it is not repeated.
        number: Of the line; None for what the file leaves open.
        said: What became of it.
    """

    key: str
    value: str
    number: int | None
    said: Said

    def text(self, file_name: str) -> str:
        """The line that a person reads."""
        place = f"{file_name}:{self.number}: " if self.number else ""
        written = f"{self.key}{f': {self.value}' if self.value else ''}"
        return f"{place}{written}: {self.said.outcome}{f': {self.said.text}' if self.said.text != written else ''}"


@dataclass(frozen=True)
class Translation:
    """An experiment out of a training file.

    Attributes:
        program: Whose file it was.
        experiment: As it is to be written.
        lines: What became of each line, in file order, and then what was assumed.
    """

    program: str
    experiment: dict[str, Any]
    lines: tuple[Line, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many lines came to what."""
        return Counter(line.said.outcome for line in self.lines)

    def as_text(self, file_name: str) -> str:
        """The experiment's file, headed by what is different or was assumed."""
        told = [line.text(file_name) for line in self.lines if line.said.outcome in ("not possible", "assumed")]
        comments = [f"Made by `dtx import` from {file_name}, a file of {self.program}.", *told]
        return "".join(f"# {' '.join(comment.split())}\n" for comment in comments) + dump_text(self.experiment)


def translation(document: SpecDocument, ground: Ground, name: str) -> Translation:
    """What a training file comes to.

    Args:
        document: The file, read.
        ground: Where it stood.
        name: Of the experiment, where the file gives none.

    Raises:
        SpecError: It is of no program that is known.
    """
    dialect = _dialect(document)
    draft = Draft(document.data, ground, name)
    said = {key: _said(key, value, draft, dialect) for key, value in document.data.items()}
    if not draft.datasets:
        raise SpecError(f"{document.name}: names no dataset that could be learned from.", "Name the file that training was started with.")
    _assume(draft, dialect)
    said |= _without_effect(draft, said)
    lines = [Line(key, "" if key in dialect.secrets else shown(document.data[key]), document.lines.get((key,)), told) for key, told in said.items()]
    return Translation(dialect.name, _experiment(draft), (*lines, *(Line(key, "", None, told) for key, told in draft.told)))


def dialect_of(document: SpecDocument) -> Dialect | None:
    """Of the program that a training file is of; None where none is known, as for an experiment."""
    return next((dialect for dialect in DIALECTS if document.data.get(dialect.mark)), None)


def _dialect(document: SpecDocument) -> Dialect:
    found = dialect_of(document)
    if found is None:
        marks = " nor ".join(f"{dialect.mark} ({dialect.name})" for dialect in DIALECTS)
        raise SpecError(f"{document.name}: is no training file that is known: it has neither {marks}.", "Name the file that training was started with.")
    return found


def _said(key: str, value: Any, draft: Draft, dialect: Dialect) -> Said:
    """What becomes of one key."""
    if value is None or value == "":
        return unneeded("it says nothing.")
    if key in dialect.unneeded:
        return unneeded(dialect.unneeded[key])
    switch = next((needed for start, needed in dialect.needs.items() if key.startswith(start)), key)
    if switch != key and not draft.written.get(switch):
        return unneeded(f"it counts with {switch} alone.")
    if key in dialect.meanings:
        return dialect.meanings[key](draft, value)
    if key in dialect.impossible:
        missing = dialect.impossible[key]
        return unneeded("it changes nothing there either.") if value in (False, missing.off) else impossible(missing.why)
    near = get_close_matches(key, sorted(dialect.keys), 1)
    return impossible(f"is not a key of {dialect.name} that is known here. {f'Did you mean {near[0]!r}?' if near else ''}".rstrip())


def _assume(draft: Draft, dialect: Dialect) -> None:
    """What the file leaves open: the program's defaults where ours differ, the batch, the rows to judge on and how."""
    for name, value in dialect.defaults.items():
        if name not in draft.group:
            draft.put(name, value)
            draft.told.append((name, assumed(f"{shown(value)}, the default of {dialect.name}.", name)))
    if "compute_type" not in draft.group:
        draft.told.append(("compute_type", assumed("fp32: the file names neither bf16 nor fp16. On a GPU write bf16.")))
    _assume_batch(draft, dialect)
    _assume_scored(draft)


def _assume_batch(draft: Draft, dialect: Dialect) -> None:
    ground, rows = draft.ground, draft.written.get("per_device_train_batch_size", draft.written.get("micro_batch_size"))
    written = rows if isinstance(rows, int) and rows > 0 else dialect.rows_of_a_pass
    processes = ground.nodes * ground.gpus
    total = written * draft.accumulation * processes
    draft.put("global_batch_size", total)
    if ground.gpus > 1:
        draft.resources = {"processes": ground.gpus, **draft.resources}
    if ground.nodes > 1:
        draft.resources = {"nodes": ground.nodes, **draft.resources}
    product = f"{written} row{'s' if written > 1 else ''} x {draft.accumulation} steps of accumulation x {processes} GPU{'s' if processes > 1 else ''}"
    draft.told.append(("global_batch_size", assumed(f"{total} = {product}: a training file does not say on how many it runs. Say so by --nodes and --gpus.")))


def _assume_scored(draft: Draft) -> None:
    """Jobs are judged on rows that are not learned from, as the stage allows."""
    stage = draft.group.get("stage", "sft")
    if stage in ("rloo", "grpo"):
        draft.told.append(("scoring", assumed("prompts have no answers to compare with: add a Dataset with a validation split to score on.")))
        return
    metrics = draft.scoring.setdefault("metrics", [JUDGED.get(stage, "perplexity")])
    draft.told.append(("scoring", assumed(f"{metrics[0]} decides: {WHY_JUDGED[metrics[0]]}")))
    if draft.group.get("val_size") is not None:
        return
    for definition in draft.defined:
        if "validation" not in definition:
            definition["validation"] = HELD_OUT
            said = f"{HELD_OUT} of {definition['name']}: the file holds no rows out, and jobs are judged on rows that none learns from."
            draft.told.append(("validation", assumed(said)))
    if len(draft.defined) < len(draft.datasets):
        draft.told.append(("validation", assumed("Datasets that are only named have a validation or a test split. Otherwise write val_size.")))


def _without_effect(draft: Draft, said: dict[str, Said]) -> dict[str, Said]:
    """Leaves out what counts for nothing beside the rest: a group with it is a mistake here."""
    values = Hyperparameters.model_validate({key: value for key, value in draft.group.items() if key in Hyperparameters.model_fields})
    own = {*OF_ADAPTERS, "pissa_iter"} if draft.llm.get("adapter") else set()
    idle = dict.fromkeys(draft.group.keys() & own, "is that of the adapter, which is trained further")
    idle |= {mistake.key_path.lstrip("."): mistake.problem for mistake in idle_mistakes(values, draft.group.keys() & Hyperparameters.model_fields.keys())}
    draft.group = {key: value for key, value in draft.group.items() if key not in idle}
    draft.told = [(key, told) for key, told in draft.told if told.target not in idle]
    return {key: unneeded(f"{told.target} {idle[told.target]}.") for key, told in said.items() if told.target in idle}


def _experiment(draft: Draft) -> dict[str, Any]:
    """The draft, in the order in which experiments are written."""
    metric = draft.scoring.get("metrics", [None])[0]
    datasets = [item if isinstance(item, str) else _ordered(item) for item in draft.datasets]
    return {
        "kind": "FinetuneExperiment",
        "name": draft.name,
        "matrix": {
            "llms": [_ordered(draft.llm)],
            "datasets": datasets,
            "hyperparameters": [{"name": draft.name, **draft.group}],
            **({"seeds": draft.seeds} if draft.seeds else {}),
        },
        **({"scoring": draft.scoring} if draft.scoring else {}),
        **({"selection": {"metric": metric}} if metric else {}),
        **({"resources": draft.resources} if draft.resources else {}),
    }


def _ordered(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition that begins with its name."""
    return {"name": definition["name"], **definition}
