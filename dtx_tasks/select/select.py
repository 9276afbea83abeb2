"""The rule: validation decides, a job must beat the best base beyond chance, and the reason is said in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dtx_tasks.errors import DtxError
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import BestVersion, CandidateEvidence, digest_of
from dtx_tasks.select.bootstrap import CONFIDENCE, Comparison, compare, holm
from dtx_tasks.select.candidates import Candidate, candidates
from dtx_tasks.storage import read_record, remove, write_record

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan, Layout, Score


class NothingScoredError(DtxError):
    """No job, or no base, could be scored: there is nothing to compare."""

    is_final = True


@dataclass(frozen=True)
class Ranked:
    """A scored candidate and how it compares with the best base."""

    candidate: Candidate
    value: float
    to_base: Comparison | None = None
    adjusted_p: float | None = None

    @property
    def beats_base(self) -> bool:
        """Whether it is better than the best base beyond chance."""
        return self.to_base is not None and self.adjusted_p is not None and self.to_base.mean > 0 and self.adjusted_p < 1 - CONFIDENCE


def select(plan: ExperimentPlan, layout: Layout) -> BestVersion:
    """Chooses the best of an experiment and writes the verdict.

    Args:
        plan: What was done.
        layout: Where the ScoreCards are.

    Raises:
        NothingScoredError: With the reason of every job that has no score.
    """
    found = candidates(plan, layout)
    uri = f"{layout.experiment(plan.name, plan.plan_id)}/verdict.json"
    inputs = {candidate.checkpoint_id: candidate.cards.digest if candidate.cards else candidate.reason for candidate in found}
    # Judged anew each time: it takes a moment, and names may have changed where nothing else did.
    try:
        verdict = _judge(plan, found, inputs)
    except Exception:
        # An earlier run's verdict is not this one's.
        remove(uri)
        raise
    if verdict != read_record(uri, BestVersion):
        write_record(uri, verdict)
    return verdict


def _judge(plan: ExperimentPlan, found: list[Candidate], inputs: dict[str, str]) -> BestVersion:
    metric = plan.selection.metric
    scored = [candidate for candidate in found if candidate.cards]
    jobs = [candidate for candidate in scored if not candidate.is_base]
    bases = [candidate for candidate in scored if candidate.is_base]
    if not (jobs and bases):
        reasons = "\n".join(f"- {candidate.name}: {candidate.reason}" for candidate in found if not candidate.cards)
        raise NothingScoredError(f"{'No job' if bases else 'No base'} could be scored, so there is nothing to choose from:\n{reasons}")
    sign = 1 if _score(jobs[0], "validation", metric, required=True).higher_is_better else -1  # type: ignore[union-attr]
    base = max(bases, key=lambda candidate: sign * _value(candidate, metric))
    ranked = _ranked(jobs, bases, base, metric, sign)
    best = next((item for item in ranked if item.beats_base), None) or next(item for item in ranked if item.candidate is base)
    runner_up = next(item for item in ranked if item is not best)
    lead = compare(best.candidate.minus(runner_up.candidate, sign))
    cards = best.candidate.cards
    assert cards is not None
    unscored = [candidate for candidate in found if not candidate.cards]
    num_jobs = sum(not candidate.is_base for candidate in found)
    return BestVersion(
        code_version=CODE_VERSIONS["select"],
        inputs=inputs,
        digest=digest_of([plan.plan_id, best.candidate.checkpoint_id, inputs], 64),
        libraries={},
        plan_id=plan.plan_id,
        metric=metric,
        best_id=best.candidate.checkpoint_id,
        best_name=best.candidate.name,
        is_base=best.candidate.is_base,
        runner_up_name=runner_up.candidate.name,
        lead_over_runner_up=lead.mean,
        lead_lower_bound=lead.lower_bound,
        reason=_reason(best, base, runner_up, lead, plan, num_jobs, len(jobs)),
        candidates=tuple(_evidence(item, metric) for item in _best_first(ranked, best)) + tuple(_unscored(candidate) for candidate in unscored),
        num_jobs=num_jobs,
        num_scored_jobs=len(jobs),
        num_validation_rows=cards.cards["validation"].num_rows,
        num_test_rows=cards.cards["test"].num_rows if "test" in cards.cards else 0,
        is_cross_fitted=cards.is_cross_fitted,
        left_out_datasets=cards.left_out_datasets,
    )


def _ranked(jobs: list[Candidate], bases: list[Candidate], base: Candidate, metric: str, sign: int) -> list[Ranked]:
    """Best first; between equals the one that changes less, then by name."""
    comparisons = [compare(job.minus(base, sign)) for job in jobs]
    adjusted = holm([comparison.p for comparison in comparisons])
    ranked = [Ranked(job, _value(job, metric), comparison, p) for job, comparison, p in zip(jobs, comparisons, adjusted, strict=True)]
    ranked += [Ranked(candidate, _value(candidate, metric)) for candidate in bases]
    return sorted(ranked, key=lambda item: (-sign * item.value, item.candidate.num_trained_parameters, item.candidate.name))


def _best_first(ranked: list[Ranked], best: Ranked) -> list[Ranked]:
    return [best, *(item for item in ranked if item is not best)]


def _score(candidate: Candidate, split: str, metric: str, *, required: bool = False) -> Score | None:
    assert candidate.cards is not None
    card = candidate.cards.cards.get(split)  # type: ignore[call-overload]
    if card is None and required:
        raise NothingScoredError(f"{candidate.name} was scored on no {split} row.")
    return card.scores[metric] if card else None


def _value(candidate: Candidate, metric: str) -> float:
    score = _score(candidate, "validation", metric, required=True)
    assert score is not None
    assert score.value is not None
    return score.value


def _evidence(item: Ranked, metric: str) -> CandidateEvidence:
    validation, test = _score(item.candidate, "validation", metric), _score(item.candidate, "test", metric)
    return CandidateEvidence(
        checkpoint_id=item.candidate.checkpoint_id,
        name=item.candidate.name,
        is_base=item.candidate.is_base,
        validation=item.value,
        validation_standard_error=validation.standard_error if validation else None,
        test=test.value if test else None,
        difference_to_base=item.to_base.mean if item.to_base else None,
        lower_bound=item.to_base.lower_bound if item.to_base else None,
        adjusted_p=item.adjusted_p,
        beats_base=item.beats_base,
        unscored_reason="",
    )


def _unscored(candidate: Candidate) -> CandidateEvidence:
    return CandidateEvidence(
        checkpoint_id=candidate.checkpoint_id,
        name=candidate.name,
        is_base=candidate.is_base,
        validation=None,
        validation_standard_error=None,
        test=None,
        difference_to_base=None,
        lower_bound=None,
        adjusted_p=None,
        beats_base=False,
        unscored_reason=candidate.reason,
    )


def _reason(best: Ranked, base: Candidate, runner_up: Ranked, lead: Comparison, plan: ExperimentPlan, num_jobs: int, num_scored: int) -> str:
    metric = plan.selection.metric
    rows = len(best.candidate.by_row)
    if best.to_base is None:
        verdict = f"Nothing beats {base.name}: its {metric} is {best.value:.3f} on {rows} validation rows, and no job is better beyond chance."
        near = f"The nearest is {runner_up.candidate.name} with {runner_up.value:.3f}."
    else:
        over = "1 job" if num_scored == 1 else f"{num_scored} jobs"
        verdict = (
            f"{best.candidate.name} is the best: {metric} {best.value:.3f} on {rows} validation rows, {best.to_base.mean:+.3f} against {base.name} "
            f"(at least {best.to_base.lower_bound:+.3f} with 95 % confidence, p {_shown_p(best.adjusted_p)} after Holm's correction over {over})."
        )
        certainty = "beyond chance" if lead.lower_bound > 0 else "which may be chance"
        near = f"The runner-up {runner_up.candidate.name} has {runner_up.value:.3f}; the lead is {lead.mean:+.3f}, {certainty}."
    test = _score(best.candidate, "test", metric)
    seen = f"On {test.num_rows} test rows, which decided nothing, it has {test.value:.3f}." if test and test.value is not None else ""
    missing = f"Best of {num_scored} of {num_jobs} jobs: the others could not be scored." if num_scored < num_jobs else ""
    cards = best.candidate.cards
    fitted = "There was one split only: each row was given one role, deciding or reporting, by its hash." if cards and cards.is_cross_fitted else ""
    left_out = f"Left out of scoring: {', '.join(cards.left_out_datasets)}." if cards and cards.left_out_datasets else ""
    return " ".join(part for part in (verdict, near, seen, missing, fitted, left_out) if part)


def _shown_p(p: float | None) -> str:
    return "< 0.001" if p is not None and p < 0.001 else f"= {p:.3f}"
