"""What keys mean that training files of several programs have: one function for each, by the meaning."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, get_args

from dtx_tasks.spec.llm import Template
from dtx_tasks.translate.draft import impossible, translated, unneeded

if TYPE_CHECKING:
    from dtx_tasks.translate.draft import Draft, Meaning, Said

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
ZERO_IN_NAME = re.compile(r"z(?:e?ro)?[_-]?([0-3])", re.IGNORECASE)
"""The choices of `resources.deepspeed`."""


def same(name: str) -> Meaning:
    """A hyperparameter that has the same values."""
    return lambda draft, value: draft.put(name, value)


def names(name: str) -> Meaning:
    """Modules: a list, or names separated by commas."""

    def meaning(draft: Draft, value: Any) -> Said:
        return draft.put(name, ",".join(map(str, value)) if isinstance(value, list) else value)

    return meaning


def switch(name: str, on: Any, note: str = "") -> Meaning:
    """Something that is on or off, and a value of a hyperparameter here."""

    def meaning(draft: Draft, value: Any) -> Said:
        if value is False:
            return unneeded("off, as it is here by default.")
        return draft.put(name, on, note) if value in (True, "auto") else impossible(f"must be true or false (got {value!r}).")

    return meaning


def model(draft: Draft, value: Any) -> Said:
    """The base: a folder here, or a model of the hub."""
    found = draft.ground.find(str(value))
    revision = draft.written.get("model_revision") or draft.written.get("revision_of_model")
    at = f"@{revision}" if revision and revision != "main" else ""
    source = draft.ground.path_for(found) if found else f"hf://{value}{at}"
    key = "base" if _adapter_of(draft) else "source"
    draft.llm = {"name": PurePath(str(value)).name, **draft.llm, key: source}
    if found:
        return translated(f"llms: {key}: {source}")
    if not HUB_ID.fullmatch(str(value)):
        draft.llm[key] = str(value)
        return impossible(f"there is no such folder here (got {value!r}). Correct `{key}` of the LLM.")
    return translated(f"llms: {key}: {source}; `dtx validate` says how such a model is brought here.")


def _adapter_of(draft: Draft) -> Path | None:
    """The adapter that is named beside the base, if it is here: it is the source then."""
    written = draft.written.get("adapter_name_or_path") or draft.written.get("lora_model_dir")
    return draft.ground.find(str(written)) if written else None


def given_adapter(draft: Draft, value: Any) -> Said:
    """An adapter on the base is trained further; or merged into it, where a new one is to be begun."""
    found = _adapter_of(draft)
    if found is None:
        return impossible(f"there is no such folder here (got {value!r}). Name that of one adapter as `source` of the LLM, with `adapter: continue`.")
    draft.llm["source"] = draft.ground.path_for(found)
    if draft.written.get("create_new_adapter"):
        return translated(f"llms: source: {draft.llm['source']}; it is merged into its base, and a new one is begun.")
    draft.llm["adapter"] = "continue"
    return translated(f"llms: source: {draft.llm['source']}, adapter: continue")


def template(draft: Draft, value: Any) -> Said:
    """The chat template; what is not known becomes the model's own."""
    if value in get_args(Template):
        draft.llm["template"] = value
        return translated(f"llms: template: {value}")
    return impossible(f"there is no template {value!r} here (docs/templates.md lists them); the model's own is used: `template: tokenizer`.")


def micro_batch(draft: Draft, value: Any) -> Said:
    """Rows of one forward pass."""
    said = draft.put("per_device_train_batch_size", value)
    if said.outcome == "translated" and draft.written.get("stage", draft.written.get("rl")) == "kto" and value < 2:
        del draft.group["per_device_train_batch_size"]
        return unneeded(
            f"counts in global_batch_size (got {value}); KTO compares an answer with its neighbour in the batch, so that here it needs two at least."
        )
    return said


def accumulation(draft: Draft, value: Any) -> Said:
    """Forward passes of one optimiser step."""
    if not isinstance(value, int) or value < 1:
        return impossible(f"must be a whole number (got {value!r}). Correct global_batch_size.")
    draft.accumulation = value
    return translated("part of global_batch_size", "global_batch_size")


def seed(draft: Draft, value: Any) -> Said:
    """Where chance begins."""
    if not isinstance(value, int) or not 0 <= value < 2**32:
        return impossible(f"is no seed (got {value!r}): a whole number from 0 on.")
    draft.seeds = [value]
    return translated(f"seeds: [{value}]")


def run_name(draft: Draft, value: Any) -> Said:
    """What a person calls it."""
    clean = re.sub(r"[\s/\\]+", "-", str(value)).strip("-")[:100]
    draft.name = clean or draft.name
    return translated(f"name: {draft.name}")


def max_steps(draft: Draft, value: Any) -> Said:
    """Optimiser steps, if they are bounded."""
    return unneeded("the epochs count.") if value == -1 else draft.put("max_steps", value)


def warmup(draft: Draft, value: Any) -> Said:
    """Steps, or a share of them below 1, in which the learning rate rises."""
    if value == 0:
        return unneeded("none, as here by default.")
    return draft.put("warmup_ratio" if isinstance(value, float) and value < 1 else "warmup_steps", value)


def warmup_ratio(draft: Draft, value: Any) -> Said:
    """The share, which counts where no steps are named."""
    return unneeded("warmup_steps counts.") if draft.written.get("warmup_steps") else draft.put("warmup_ratio", value)


def arguments(name: str) -> Meaning:
    """A mapping, or one written as JSON."""

    def meaning(draft: Draft, value: Any) -> Said:
        try:
            return draft.put(name, json.loads(value) if isinstance(value, str) else value)
        except json.JSONDecodeError:
            return impossible(f"is no mapping (got {value!r}).")

    return meaning


def gradient_checkpointing(draft: Draft, value: Any) -> Said:
    """Activations computed again; on a GPU that is the default."""
    return draft.put("gradient_checkpointing", bool(value) if value in (True, False, "offload", "unsloth") else value)


def deepspeed(draft: Draft, value: Any) -> Said:
    """DeepSpeed's configuration file comes down to its ZeRO stage."""
    stage, offloads = _zero(draft, str(value))
    if stage == 0:
        return unneeded("ZeRO-0 is plain data parallelism, as without it.")
    if stage is None:
        return impossible(f"the file is not here and its name does not tell the ZeRO stage (got {value!r}). Set resources: deepspeed: zero2 or zero3.")
    kept = f"zero{stage}"
    draft.resources["deepspeed"] = kept
    if not offloads:
        return translated(f"resources: deepspeed: {kept}; config/deepspeed/{kept}.json is used, and nothing else of the file.")
    draft.resources["offload"] = True
    return translated(f"resources: deepspeed: {kept}, offload: true; config/deepspeed/{kept}-offload.json is used, and nothing else of the file.")


def fsdp(draft: Draft, value: Any) -> Said:
    """FSDP2 shards everything; what FSDP offloads stays on the GPU."""
    words = re.findall(r"\w+", str(value))
    if not value or "no_shard" in words:
        return unneeded("nothing is sharded by it.")
    draft.resources["fsdp"] = True
    offload = " FSDP's offloading is not offered: take more processes, or deepspeed: zero3 with offload: true." if "offload" in words else ""
    return translated(f"resources: fsdp: true (FSDP2); config/accelerate/fsdp.yaml is used.{offload}")


def _zero(draft: Draft, value: str) -> tuple[int | None, bool]:
    """The ZeRO stage, None where it cannot be known, and whether anything is offloaded."""
    found = draft.ground.find(value)
    try:
        read = json.loads(found.read_text(encoding="utf-8")) if found and found.is_file() else None
    except ValueError:
        read = None
    if isinstance(read, dict):
        options = read.get("zero_optimization") or {}
        devices = [part.get("device", "none") for key, part in options.items() if key.startswith("offload_") and isinstance(part, dict)]
        return options.get("stage", 0), any(device != "none" for device in devices)
    name = PurePath(value).name
    in_name = ZERO_IN_NAME.search(name)
    return int(in_name[1]) if in_name else None, "offload" in name
