"""Makes a base model's tokenizer one that writes a template, and stops where it stops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dtx_tasks.template.render import UnsuitableTemplateError, template_of
from dtx_tasks.template.table import TEMPLATES, TOKENIZERS_OWN

if TYPE_CHECKING:
    from dtx_tasks.template.render import Tokenizer
    from dtx_tasks.template.table import Template


def adapt(tokenizer: Tokenizer, template_name: str) -> None:
    """Sets the chat template of a tokenizer, with the eos and pad token that belong to it.

    Args:
        tokenizer: Of the base model; it is changed.
        template_name: A key of TEMPLATES, or `tokenizer` for its own chat template.

    Raises:
        UnsuitableTemplateError: The tokenizer has no chat template of its own, no eos token, or not the mark that ends the template's answers.
    """
    if template_name == TOKENIZERS_OWN:
        if not tokenizer.chat_template:
            raise UnsuitableTemplateError("The base model's tokenizer has no chat template.", "Set `template` of the LLM: docs/templates.md lists them.")
    else:
        tokenizer.chat_template = (Path(__file__).parent / f"{template_name}.jinja").read_text(encoding="utf-8")
        _set_end(tokenizer, template_name, TEMPLATES[template_name])
    if tokenizer.eos_token is None:
        raise UnsuitableTemplateError("The base model's tokenizer has no eos token: nothing would end an answer.", "Name one in its tokenizer_config.json.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def stop_token_ids(tokenizer: Tokenizer) -> list[int]:
    """Ids that end generation: of the eos token, and of the template's other stops that the tokenizer knows as one token."""
    template = template_of(tokenizer)[1]
    known = [tokenizer.eos_token, *(template.stops if template else ())]
    return list(dict.fromkeys(tokenizer.convert_tokens_to_ids(token) for token in known if _is_known(tokenizer, token)))


def _set_end(tokenizer: Tokenizer, name: str, template: Template) -> None:
    mark = template.end_mark
    if mark is None:
        return
    if not _is_known(tokenizer, mark):
        problem = f"The template {name} ends answers with {mark}, which is no token of the base model: it has no weights for it."
        raise UnsuitableTemplateError(problem, "Set the `template` that belongs to the model, or one that ends with the eos token, such as default.")
    if template.replaces_eos:
        tokenizer.eos_token = mark
    elif mark not in tokenizer.all_special_tokens:
        tokenizer.add_special_tokens({"extra_special_tokens": [mark]}, replace_extra_special_tokens=False)


def _is_known(tokenizer: Tokenizer, token: str | None) -> bool:
    return token in tokenizer.get_vocab()
