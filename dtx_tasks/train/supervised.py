"""Supervised fine-tuning where TRL's fused head would score every token: logits where there is a label alone."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

from dtx_tasks.template import IGNORED_LABEL


class LabelledSFT(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer; on a CPU, where it has no kernel for its head and computes it twice for all tokens, transformers' own head for the labelled ones."""

    most_logits = 1 << 28
    """1 GiB in fp32: above that TRL's head, which goes by parts, is worth its time."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The mean cross entropy of the labelled tokens, over all processes and accumulated batches; and with `return_outputs` as TRL has it."""
        if return_outputs or not self._has_plain_head(inputs):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels_BT = inputs["labels"][:, 1:]
        kept_K = (labels_BT != IGNORED_LABEL).any(dim=0).nonzero()[:, 0]
        labels_BK = labels_BT[:, kept_K]
        given = {name: value for name, value in inputs.items() if name != "labels"}
        logits_BKV = model(**given, logits_to_keep=kept_K, use_cache=False).logits.float()
        self._tell(logits_BKV, labels_BK)
        loss = cross_entropy(logits_BKV.flatten(0, 1), labels_BK.flatten(), ignore_index=IGNORED_LABEL, reduction="sum")
        if num_items_in_batch is None:
            return loss / (labels_BK != IGNORED_LABEL).sum().clamp(min=1)
        # The tokens of every rank are counted, and ranks are averaged over.
        scale = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return loss / torch.as_tensor(num_items_in_batch).clamp(min=1) * scale

    def _has_plain_head(self, inputs: dict[str, Any]) -> bool:
        """Whether the loss is the cross entropy of what the model's own head says, on a CPU, and those logits fit."""
        labels_BT = inputs["labels"]
        if labels_BT.device.type != "cpu" or self.label_smoother is not None or self.aux_loss_enabled:
            return False
        model = self.accelerator.unwrap_model(self.model)
        if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
            return False
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        fits = labels_BT.numel() * base.config.get_text_config().vocab_size <= self.most_logits
        return fits and "logits_to_keep" in inspect.signature(type(base).forward).parameters

    def _tell(self, logits_BKV: torch.Tensor, labels_BK: torch.Tensor) -> None:
        """Notes the share of labelled tokens that would have been chosen, under TRL's name."""
        labelled = labels_BK != IGNORED_LABEL
        right = ((logits_BKV.detach().argmax(dim=-1) == labels_BK) & labelled).sum()
        counts = self.accelerator.gather_for_metrics(torch.stack([right, labelled.sum()])[None]).sum(dim=0)
        mode = "train" if self.model.training else "eval"
        self._metrics[mode]["mean_token_accuracy"].append(float(counts[0] / counts[1].clamp(min=1)))
