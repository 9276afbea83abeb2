"""From a conversation to text and token ids: one way for training, scoring and serving."""

from dtx_tasks.template.render import UnsuitableTemplateError, answer_ids, chat_template, prompt_ids

__all__ = ["UnsuitableTemplateError", "answer_ids", "chat_template", "prompt_ids"]
