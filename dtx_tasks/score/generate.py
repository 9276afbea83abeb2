"""Greedy answers to many prompts, a batch at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from dtx_tasks.template import answer_text, prompt_ids, stop_token_ids

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from dtx_tasks.score.rows import ScoredRow
    from dtx_tasks.spec import Scoring

Conversation = tuple[list[dict[str, Any]], list[dict[str, Any]] | None]
"""Messages as OpenAI's API has them, and the functions that may be called, if the row speaks of any."""


class Generator:
    """A model and its tokenizer, ready to answer.

    Args:
        model_path: The base LLM or a full checkpoint.
        tokenizer_path: The tokenizer with the template that the checkpoint was trained with.
        adapter_path: The adapter on top of the model, if there is one.
    """

    def __init__(self, model_path: Path, tokenizer_path: Path, adapter_path: Path | None = None) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_path, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
        if adapter_path:
            # Merged, an adapter costs nothing while generating.
            model = PeftModel.from_pretrained(model, adapter_path).merge_and_unload()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: PreTrainedModel = model.to(device).eval()

    def answer(self, conversations: list[Conversation], scoring: Scoring) -> list[str]:
        """What the model writes to each conversation.

        Args:
            conversations: Each up to the place where the answer begins.
            scoring: Its batch size and length limit.

        Returns:
            As many texts, in the same order.
        """
        prompts = [prompt_ids(self.tokenizer, messages, tools) for messages, tools in conversations]
        # Prompts of like length together: less padding. Longest first, so that memory runs out at once or never.
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        answers = [""] * len(prompts)
        for start in range(0, len(order), scoring.batch_size):
            batch = order[start : start + scoring.batch_size]
            for index, text in zip(batch, self._batch([prompts[index] for index in batch], scoring.max_new_tokens), strict=True):
                answers[index] = text
            print(json.dumps({"event": "scoring", "step": min(start + scoring.batch_size, len(order)), "total": len(order)}), flush=True)
        return answers

    def would_write(self, row: ScoredRow) -> str:
        """The reference of a row in the words of this model's template."""
        return answer_text(self.tokenizer, [*row.messages, row.answer_message], row.tools) if row.answer_message else row.answer

    @torch.inference_mode()
    def _batch(self, prompts: list[list[int]], max_new_tokens: int) -> list[str]:
        padded = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(self.model.device)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=stop_token_ids(self.tokenizer),
            pad_token_id=self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id,
        )
        written = self.model.generate(**padded, generation_config=config)[:, padded["input_ids"].shape[1] :]
        return list(self.tokenizer.batch_decode(written, skip_special_tokens=True))
