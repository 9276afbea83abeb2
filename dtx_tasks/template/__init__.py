"""From a conversation to text and token ids: one way for training, scoring and serving."""

from dtx_tasks.template.adapt import adapt, stop_token_ids
from dtx_tasks.template.answers import Answered, encode_answers
from dtx_tasks.template.encode import IGNORED_LABEL, Encoded, answer_text, encode, encode_all, prompt_ids
from dtx_tasks.template.images import with_images
from dtx_tasks.template.plain import encode_text
from dtx_tasks.template.render import UnsuitableTemplateError, refuse_placeholders, template_of
from dtx_tasks.template.table import TEMPLATES, TOKENIZERS_OWN, Template

__all__ = [
    "IGNORED_LABEL",
    "TEMPLATES",
    "TOKENIZERS_OWN",
    "Answered",
    "Encoded",
    "Template",
    "UnsuitableTemplateError",
    "adapt",
    "answer_text",
    "encode",
    "encode_all",
    "encode_answers",
    "encode_text",
    "prompt_ids",
    "refuse_placeholders",
    "stop_token_ids",
    "template_of",
    "with_images",
]
