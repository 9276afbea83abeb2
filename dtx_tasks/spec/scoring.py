"""The Scoring: how every result of an experiment is judged, in the same way."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dtx_tasks.spec.base import Name, SpecModel

Metric = Literal["exact_match", "bleu", "rouge1", "rouge2", "rougeL", "perplexity", "pairwise_accuracy"]
GENERATED: tuple[Metric, ...] = ("exact_match", "bleu", "rouge1", "rouge2", "rougeL")
"""Metrics that compare an answer which the model writes with a reference."""

LOWER_IS_BETTER: tuple[Metric, ...] = ("perplexity",)


class Scoring(SpecModel):
    """How every job and every base is judged on the scored rows: by what it writes, by what it finds likely, or by what it rewards."""

    name: Name = "generation"
    """The name that experiments refer to it by. 评估方式名称"""

    description: str = ""
    """What a reader should know about it."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)] = GENERATED
    """What is measured on every row: a greedy answer beside the reference, from 0 to 1; `perplexity` of the reference; `pairwise_accuracy` of a reward. 指标"""

    max_new_tokens: Annotated[int, Field(ge=1, le=32768)] = 128
    """An answer is cut off after so many tokens. 最大生成长度"""

    cutoff_len: Annotated[int, Field(ge=8)] = 4096
    """perplexity, pairwise_accuracy: a question with its answer is cut off after so many tokens. 截断长度"""

    max_samples: Annotated[int, Field(ge=1)] | None = None
    """Score at most so many rows of each split, chosen by content and so the same for every job. 最大评估样本数"""

    batch_size: Annotated[int, Field(ge=1)] = 32
    """Prompts generated from at once; changes the speed, not the scores. 批大小"""

    @property
    def likelihood_cutoff_len(self) -> int | None:
        """The length limit of a question with its answer where it is measured how likely that is; None where it is not."""
        return self.cutoff_len if "perplexity" in self.metrics else None
