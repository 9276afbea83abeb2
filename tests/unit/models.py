"""Models so small that a test makes them: random weights, a token for each byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from tests.unit.template.tokenizers import make_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

QUESTION_IDS = torch.arange(40, 60)[None]


def make_model(folder: Path, *, is_reward: bool = False, seed: int = 0) -> Path:
    """A folder in Hugging Face layout, with a tokenizer of chatml."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer("chatml", pad_token="</s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    model = LlamaForSequenceClassification(config) if is_reward else LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(base: Path, folder: Path) -> Path:
    """An adapter of LoRA that changes what its base computes."""
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder)
    make_tokenizer("chatml").save_pretrained(folder)
    return folder


def load(folder: Path) -> Any:
    """The model of a folder, by transformers alone."""
    return LlamaForCausalLM.from_pretrained(folder)


def logits_of(model: Any) -> torch.Tensor:
    """What it computes of one question."""
    with torch.inference_mode():
        found: torch.Tensor = model(QUESTION_IDS).logits
    return found
