"""Which of TRL's trainers a stage uses, and how it takes rows that are tokenised and cut already."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import torch
from datasets import disable_caching
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTConfig,
)

from dtx_tasks.spec import REINFORCED
from dtx_tasks.train.supervised import LabelledSFT

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from trl.experimental.cpo import CPOConfig, CPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    from dtx_tasks.spec import Hyperparameters

Row = dict[str, Any]


class PreparedDPO(DPOTrainer):  # type: ignore[misc]
    """DPO on prepared pairs."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


class PreparedKTO(KTOTrainer):  # type: ignore[misc]
    """KTO on prepared answers with labels."""

    def _prepare_dataset(self, dataset: Dataset, _tokenizer: Any, args: KTOConfig, *_: Any) -> Dataset:
        # The divergence from the reference is estimated on each prompt with the answer to its neighbour in the batch.
        def with_neighbours(rows: Row) -> Row:
            answers = rows["completion_ids"]
            return {**rows, "KL_completion_ids": [answers[-1], *answers[:-1]]}

        return dataset.map(with_neighbours, batched=True, batch_size=args.per_device_train_batch_size)


class _SideBySide:
    """A trainer whose batches hold both answers under names by which the Trainer counts no tokens (transformers 5.23)."""

    def _track_num_input_tokens(self, inputs: Row) -> None:
        sides = ("chosen", "rejected")
        ids, mask = (torch.cat([inputs[f"{side}_{name}"].flatten() for side in sides]) for name in ("input_ids", "attention_mask"))
        super()._track_num_input_tokens({"input_ids": ids, "attention_mask": mask})


class PreparedORPO(_SideBySide, ORPOTrainer):  # type: ignore[misc]
    """ORPO on prepared pairs."""

    def tokenize_row(self, feature: Row, *_: Any) -> Row:
        """The pair under ORPO's own names."""
        return _pair(feature)


class PreparedCPO(_SideBySide, CPOTrainer):  # type: ignore[misc]
    """SimPO, which TRL has as a loss of CPO, on prepared pairs."""

    def tokenize_row(self, feature: Row, *_: Any) -> Row:
        """The pair under CPO's own names."""
        return _pair(feature)


def _pair(row: Row) -> Row:
    prompt = row["prompt_ids"]
    found: Row = {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
    for side in ("chosen", "rejected"):
        answer = row[f"{side}_ids"]
        ids = [*prompt, *answer]
        found |= {f"{side}_input_ids": ids, f"{side}_attention_mask": [1] * len(ids), f"{side}_labels": [*[-100] * len(prompt), *answer]}
    return found


TRAINERS: dict[str, tuple[type[Trainer], type[TrainingArguments]]] = {
    "pt": (LabelledSFT, SFTConfig),
    "sft": (LabelledSFT, SFTConfig),
    "rm": (RewardTrainer, RewardConfig),
    "dpo": (PreparedDPO, DPOConfig),
    "kto": (PreparedKTO, KTOConfig),
    "orpo": (PreparedORPO, ORPOConfig),
    "simpo": (PreparedCPO, CPOConfig),
    "rloo": (RLOOTrainer, RLOOConfig),
    "grpo": (GRPOTrainer, GRPOConfig),
}


def stage_arguments(values: Hyperparameters, pad_token_id: int, *, end_to_end: bool = False) -> dict[str, Any]:
    """What the trainer of a stage is told beside what all of them are.

    Args:
        values: The hyperparameters.
        pad_token_id: Of the tokenizer.
        end_to_end: pt, sft: rows of a batch are laid end to end in place of being padded.
    """
    beta = {"beta": values.pref_beta}
    return {
        "pt": lambda: _supervised(values, end_to_end),
        "sft": lambda: _supervised(values, end_to_end),
        "rm": lambda: {"max_length": None},
        "dpo": lambda: {**beta, **_preference_loss(values), "max_length": None, "label_smoothing": values.dpo_label_smoothing},
        "kto": lambda: {**beta, "desirable_weight": values.kto_chosen_weight, "undesirable_weight": values.kto_rejected_weight, "max_length": None},
        "orpo": lambda: {**beta, "max_length": values.cutoff_len, "padding_value": pad_token_id},
        "simpo": lambda: {**beta, "max_length": values.cutoff_len, "loss_type": "simpo", "cpo_alpha": 0.0, "simpo_gamma": values.simpo_gamma},
        "rloo": lambda: _reinforced(values),
        "grpo": lambda: _reinforced(values),
    }[values.stage]()


_UNPADDED = {"include_num_input_tokens_seen": "all"}
"""Where padding is told by its token alone, an end of a row that is the same token would not be counted."""


def _supervised(values: Hyperparameters, end_to_end: bool) -> dict[str, Any]:
    if values.packing:
        return {"dataset_kwargs": {"skip_prepare_dataset": False}, "max_length": values.cutoff_len, "packing": True, **_UNPADDED}
    # The rows are cut already.
    return {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None, "padding_free": end_to_end, **(_UNPADDED if end_to_end else {})}


def _preference_loss(values: Hyperparameters) -> dict[str, Any]:
    if not values.pref_ftx:
        return {"loss_type": [values.pref_loss]}
    return {"loss_type": [values.pref_loss, "sft"], "loss_weights": [1.0, values.pref_ftx]}


def _reinforced(values: Hyperparameters) -> dict[str, Any]:
    return {
        "beta": values.pref_beta,
        "num_generations": values.num_generations,
        "max_completion_length": values.max_new_tokens,
        "temperature": values.temperature,
    }


def rows_of_stage(rows: Dataset, values: Hyperparameters) -> Dataset:
    """Prepared rows as the trainer of a stage wants them.

    Args:
        rows: As `prepare` wrote them for this kind of Dataset.
        values: The stage.
    """
    # What is made of the rows, here and by TRL, would lie beside them, in the store: it goes where temporary files do.
    disable_caching()
    if values.stage == "rm":
        return rows.map(_rewarded, remove_columns=["prompt_ids"])
    if values.stage in REINFORCED:
        rows.set_transform(_asked)
    return rows


def _rewarded(row: Row) -> Row:
    return {f"{side}_ids": [*row["prompt_ids"], *row[f"{side}_ids"]] for side in ("chosen", "rejected")}


def _asked(rows: Row) -> Row:
    """Messages differ in their keys, so they are kept as JSON."""
    return {"prompt": [json.loads(text) for text in rows["prompt"]]}
