"""Metrics of one answer against one reference: all between 0 and 1, higher is better, right for Chinese too."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.spec import Metric

HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
WORD = re.compile(r"[^\W_]+")


class HanAndWords:
    """A tokenizer for rouge_score, whose own one drops every character that is not Latin."""

    def tokenize(self, text: str) -> list[str]:
        """Han characters one by one, everything else by words, in lower case."""
        # `[^\W_]+` would take Han characters and what stands beside them for one word.
        return WORD.findall(HAN.sub(lambda match: f" {match[0]} ", text.lower()))


def measure(metrics: Iterable[Metric], answer: str, reference: str) -> dict[str, float]:
    """Every metric of one answer.

    Args:
        metrics: Which ones.
        answer: What the model wrote.
        reference: What it should have written.

    Returns:
        For each metric a value between 0 and 1.
    """
    found: dict[str, float] = {}
    rouge: dict[str, Any] = {}
    for metric in metrics:
        if metric == "exact_match":
            found[metric] = float(answer.strip() == reference.strip())
        elif metric == "bleu":
            found[metric] = _bleu(answer, reference)
        else:
            rouge = rouge or _rouge().score(reference, answer)
            found[metric] = float(rouge[metric].fmeasure)
    return found


def _bleu(answer: str, reference: str) -> float:
    """Sentence BLEU of sacrebleu, by Han characters where the reference holds any and by 13a otherwise."""
    tokenizer = "zh" if HAN.search(reference) else "13a"
    return float(min(1.0, _sentence_bleu(tokenizer).sentence_score(answer, [reference]).score / 100))


@cache
def _sentence_bleu(tokenizer: str) -> BLEU:
    return BLEU(tokenize=tokenizer, effective_order=True)


@cache
def _rouge() -> rouge_scorer.RougeScorer:
    return rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=HanAndWords())
