"""The page about stages and methods, from the code that decides."""

from __future__ import annotations

from dtx_tasks.plan.methods import METHODS, STAGES, obstacle, values_of
from dtx_tasks.plan.rules import KINDS_OF_STAGES, RESOURCE_RULES, RULES

HEAD = """\
# Training: stages, methods and rules

Generated from the code by `make docs`. What a plan refuses, it refuses with these words; what it accepts is trained in a test
(`tests/recipes/test_stages.py`): the loss falls, and the checkpoint loads again and computes the same.

"""
RULES_HEAD = """\
## What does not go together

Told when an experiment is planned, with the place in the file. A value outside of the advised range is a note of the plan, no mistake.

| hyperparameter | why not | what to do |
| --- | --- | --- |
"""


def page() -> str:
    """docs/training.md."""
    reasons = list(dict.fromkeys(reason for stage in STAGES for method in METHODS if (reason := obstacle(stage, method))))
    notes = "".join(f"{number}. {reason}\n" for number, reason in enumerate(reasons, 1))
    rules = "".join(f"| `{rule.key}` | {_plain(rule.problem)} | {_plain(rule.remedy)} |\n" for rule in (*RULES, *RESOURCE_RULES))
    return f"{HEAD}{_table(reasons)}\n{notes}\n{_methods()}\n{RULES_HEAD}{rules}"


def _table(reasons: list[str]) -> str:
    head = f"| stage | learns from | {' | '.join(METHODS)} |\n| --- | --- |{' --- |' * len(METHODS)}\n"
    return head + "".join(
        f"| `{stage}` | {', '.join(KINDS_OF_STAGES.get(stage, ('-',)))} | {' | '.join(_cell(stage, method, reasons) for method in METHODS)} |\n"
        for stage in STAGES
    )


def _cell(stage: str, method: str, reasons: list[str]) -> str:
    reason = obstacle(stage, method)
    return f"no ({reasons.index(reason) + 1})" if reason else "yes"


def _methods() -> str:
    rows = "".join(f"| {method} | `{_written(method)}` |\n" for method in METHODS)
    return f"| method | what the group writes |\n| --- | --- |\n{rows}"


def _written(method: str) -> str:
    return ", ".join(f"{key}: {value}" for key, value in values_of("sft", method).items() if key != "stage") or "finetuning_type: lora"


def _plain(text: str) -> str:
    """Values stand for themselves."""
    return text.replace("{values.", "").replace("}", "")
