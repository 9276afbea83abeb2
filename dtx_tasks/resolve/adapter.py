"""What the file of an adapter says of it, as hyperparameters: whoever trains it further keeps to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dtx_tasks.errors import Mistake
from dtx_tasks.spec import OF_ADAPTERS, Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

WRITES, RATES = "CAUSAL_LM", "SEQ_CLS"
"""PEFT's names of the tasks of adapters: to write answers, and to rate them."""

HEADS = {"score", "classifier"}
"""Modules that PEFT keeps beside every adapter that rates."""

PLAIN_BEGINNINGS = (None, True, False, "gaussian", "orthogonal")
"""Of `init_lora_weights`: others have changed the base, and do so again when the adapter is loaded (PEFT 0.21)."""

UNTOLD = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
"""What PEFT's LoraConfig has beside the hyperparameters of a group."""


def continued_values(config: Mapping[str, Any]) -> dict[str, Any] | Mistake:
    """The hyperparameters of an adapter that is to be trained further.

    Args:
        config: Its adapter_config.json.

    Returns:
        Them, by name; or why it is not trained further.
    """
    why = _obstacle(config)
    if why:
        return Mistake(".adapter", f"continue trains a plain LoRA adapter further, and this one {why}", "Use `adapter: merge`, and begin a new one.")
    found = {
        "lora_rank": config.get("r"),
        "lora_alpha": config.get("lora_alpha"),
        "lora_dropout": config.get("lora_dropout", 0.0),
        "lora_target": _names(config.get("target_modules")),
        "additional_target": _names(config.get("modules_to_save"), HEADS if config["task_type"] == RATES else ()),
        "use_rslora": config.get("use_rslora", False),
        "use_dora": config.get("use_dora", False),
        "init_lora_weights": "default",
    }
    try:
        return Hyperparameters.model_validate(found).model_dump(include=set(OF_ADAPTERS))
    except ValidationError as error:
        place = error.errors()[0]["loc"][0]
        return Mistake(".adapter", f"continues an adapter whose {place} no group could have (it is {found[str(place)]!r})", "Use `adapter: merge`.")


def _obstacle(config: Mapping[str, Any]) -> str:
    """Why an adapter is not trained further; empty where it is."""
    if config.get("peft_type") != "LORA":
        return f"is of another method ({config.get('peft_type')})"
    if config.get("task_type") not in (WRITES, RATES):
        return f"is made for another task ({config.get('task_type')})"
    if config.get("init_lora_weights") not in PLAIN_BEGINNINGS:
        return f"changes its base (init_lora_weights: {config['init_lora_weights']})"
    if config.get("bias", "none") != "none":
        return f"has biases (bias: {config['bias']})"
    untold = next((name for name in UNTOLD if config.get(name)), None)
    return f"has {untold}" if untold else ""


def _names(written: Any, without: Collection[str] = ()) -> Any:
    """Module names as a group writes them; None for none, and what are no names as it is, to be refused."""
    if isinstance(written, list) and all(isinstance(name, str) for name in written):
        return ",".join(sorted(set(written) - set(without))) or None
    return written or None
