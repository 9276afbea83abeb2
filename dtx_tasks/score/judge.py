"""Every metric of a Scoring on every row, by what a model writes, finds likely or rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtx_tasks.score.calls import comparable
from dtx_tasks.score.generate import answers
from dtx_tasks.score.likelihood import perplexities
from dtx_tasks.score.metrics import measure
from dtx_tasks.score.reward import margins
from dtx_tasks.score.seen import messages_of
from dtx_tasks.spec import GENERATED
from dtx_tasks.template import answer_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtx_tasks.score.load import Loaded
    from dtx_tasks.score.rows import ScoredRow
    from dtx_tasks.spec import Scoring


@dataclass(frozen=True)
class Judged:
    """What came of one row.

    Attributes:
        reference: What should have been written, in the words of this model's template.
        prediction: What was; None where nothing had to be written.
        scores: By metric.
    """

    reference: str
    prediction: str | None
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """As a prediction is kept."""
        written = {} if self.prediction is None else {"prediction": self.prediction}
        return {"reference": self.reference, **written, "scores": self.scores}


def is_rewarded(scoring: Scoring) -> bool:
    """Whether reward models are judged; a plan has either only these or none."""
    return "pairwise_accuracy" in scoring.metrics


def judge(loaded: Loaded, rows: Sequence[ScoredRow], scoring: Scoring) -> list[Judged]:
    """Judges a model on rows.

    Args:
        loaded: The model: one that rates answers where `is_rewarded`.
        rows: What is asked.
        scoring: What is measured, and how.

    Returns:
        As many results, in the same order.
    """
    references = [_reference(loaded, row) for row in rows]
    if is_rewarded(scoring):
        found = margins(loaded, rows, scoring)
        return [Judged(reference, None, {"pairwise_accuracy": float(margin > 0)}) for reference, margin in zip(references, found, strict=True)]
    likely = perplexities(loaded, rows, scoring) if "perplexity" in scoring.metrics else []
    wanted = [metric for metric in scoring.metrics if metric in GENERATED]
    written = answers(loaded, rows, scoring) if wanted else []
    results = []
    for index, (row, reference) in enumerate(zip(rows, references, strict=True)):
        prediction = written[index] if wanted else None
        scores = _compared(row, prediction, reference, scoring) if prediction is not None else {}
        results.append(Judged(reference, prediction, scores | ({"perplexity": likely[index]} if likely else {})))
    return results


def _reference(loaded: Loaded, row: ScoredRow) -> str:
    """The reference of a row; a call of a tool in the words of the model's template."""
    return answer_text(loaded.tokenizer, [*messages_of(loaded, row), row.answer_message], row.tools) if row.answer_message else row.answer


def _compared(row: ScoredRow, prediction: str, reference: str, scoring: Scoring) -> dict[str, float]:
    wanted = [metric for metric in scoring.metrics if metric in GENERATED]
    if row.answer_message:
        prediction, reference = comparable(prediction), comparable(reference)
    return measure(wanted, prediction, reference)
