"""Base models as transformers loads them: to write answers, or to rate them; and what of one is its language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dtx_tasks.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedModel


def load_writer(path: Path, config: PretrainedConfig | None = None, **known: Any) -> PreTrainedModel:
    """A model that writes, whether or not it also sees.

    Args:
        path: Its files in Hugging Face layout.
        config: In place of the one that is among them.
        known: What `from_pretrained` takes beside it.
    """
    found = config or AutoConfig.from_pretrained(path)
    if found.model_type == "paligemma":
        # transformers 5.23: tokens see those behind them wherever no row is padded and no image tells them apart, and so the answer that they are to learn.
        found.text_config.use_bidirectional_attention = False
    by = AutoModelForCausalLM if found.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else AutoModelForImageTextToText
    model: PreTrainedModel = by.from_pretrained(path, config=found, **known)
    return model


def load_rater(path: Path, config: PretrainedConfig | None = None, pad_token_id: int | None = None, **known: Any) -> PreTrainedModel:
    """A reward model: one number for each text. Its head is new where the files hold none.

    Args:
        path: Its files in Hugging Face layout.
        config: In place of the one that is among them; it is changed.
        pad_token_id: Of the tokenizer, by which the end of a text is found; None for that of the files.
        known: What `from_pretrained` takes beside it.
    """
    found = config or AutoConfig.from_pretrained(path)
    found.num_labels = 1
    if pad_token_id is not None:
        found.pad_token_id = pad_token_id
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(path, config=found, **known)
    return model


def load_tokenizer(base: Path, adapter: Path | None = None) -> Any:
    """The tokenizer that an adapter was trained with; that of the base where none lies beside the adapter, or where there is no adapter.

    Args:
        base: A model's files in Hugging Face layout.
        adapter: An adapter's on it.

    Raises:
        DataError: There is none that can be loaded.
    """
    own = adapter if adapter and (adapter / "tokenizer_config.json").exists() else base
    try:
        return AutoTokenizer.from_pretrained(own)
    except (OSError, ValueError) as error:
        # With a number it is the disk's error, which may pass.
        if isinstance(error, OSError) and error.errno:
            raise
        said = str(error).strip().partition("\n")[0]
        raise DataError(f"The model has no tokenizer that can be loaded: {said}", "Bring the model again, with the files of its tokenizer.") from None


def beside_language(model: Any) -> list[str]:
    """Names of the modules that see: they, and what hands on what was seen, are not learned. None where a model only reads.

    Args:
        model: As it was loaded.
    """
    decoder, body = model.get_decoder(), model.base_model
    if decoder is body:
        return []
    kept = {id(module) for part in (decoder, model.get_output_embeddings()) if part is not None for module in part.modules()}
    return [name for name, module in model.named_modules() if id(module) not in kept and not any(id(child) in kept for child in module.modules())]
