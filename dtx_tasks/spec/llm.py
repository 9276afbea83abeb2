"""The LLM that fine-tuning starts from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dtx_tasks.spec.base import Name, SpecModel

Template = Literal[
    "tokenizer",
    "alpaca",
    "baichuan2",
    "chatglm3",
    "chatml",
    "cohere",
    "cpm",
    "cpm3",
    "deepseek",
    "default",
    "falcon",
    "gemma",
    "glm4",
    "intern2",
    "llama2",
    "llama3",
    "llava",
    "llava_next",
    "llava_next_video",
    "mistral",
    "paligemma",
    "phi",
    "qwen",
    "qwen2_vl",
    "vicuna",
    "xverse",
    "yi",
    "yi_vl",
    "yuan",
]
"""The names of dtx_tasks.template.TEMPLATES, and the base model's own one: what is checked early must not import what is heavy."""


def _by_its_name(written: Any) -> Any:
    """DataTunerX's table of models has a dash where a model needs no template of its own."""
    return "default" if written == "-" else written


class LLM(SpecModel):
    """A base model and the template its conversations are written in."""

    name: Name
    """The name that experiments refer to it by. 模型名称"""

    description: str = ""
    """What a reader should know about it."""

    source: Annotated[str, Field(min_length=1, examples=["models/Qwen2.5-0.5B-Instruct", "hf://Qwen/Qwen2.5-0.5B-Instruct", "made:tiny-bilingual"])]
    """A folder in Hugging Face layout (a relative path counts from the file that names it), `hf://OWNER/NAME@REVISION` of the Hugging Face hub
    or `ms://OWNER/NAME@REVISION` of ModelScope (the main branch where no revision is named), or `made:RECIPE` for a model that is made on first use. 来源"""

    template: Annotated[Template, BeforeValidator(_by_its_name)] = "tokenizer"
    """How a conversation becomes text: `tokenizer` is the model's own chat template, docs/templates.md lists the others; `-` is `default`. 对话模板"""

    adapter: Literal["merge", "continue"] = "merge"
    """Where the source is an adapter: `merge` makes one model of it and its base, on which training begins something new;
    `continue` trains this very adapter further (plain LoRA alone). 适配器用法"""

    base: Annotated[str, Field(min_length=1, examples=["models/Qwen2.5-7B-Instruct", "hf://Qwen/Qwen2.5-7B-Instruct"])] | None = None
    """Where the source is an adapter: the model that it was trained on, written as a source is; by default what the adapter itself names. 适配器的基座"""

    architecture: Annotated[str, Field(min_length=1)] | None = None
    """What its config.json calls `model_type`; the file says it by itself, and must say the same. 模型结构"""
