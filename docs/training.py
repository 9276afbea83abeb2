"""The page about stages and methods, from the code that decides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from dtx_tasks.catalog import config_folder, load_catalog
from dtx_tasks.plan.methods import METHODS, STAGES, obstacle, values_of
from dtx_tasks.plan.rules import KINDS_OF_STAGES, RESOURCE_RULES, RULES

if TYPE_CHECKING:
    from dtx_tasks.spec import HyperparameterGroup

HEAD = """\
# Training: stages, methods and rules

Generated from the code by `make docs`. What a plan refuses, it refuses with these words; what it accepts is trained in a test
(`tests/recipes/test_stages.py`): the loss falls, and the checkpoint loads again and computes the same.

"""
GROUPS_HEAD = """\
## Groups to begin with

Those of config/hyperparameters. Name one, or write what is to be different: `{name: mine, extends: lora, learning_rate: 2e-4}`;
the plan, the report and the model card show the difference.

| group | extends | writes | for |
| --- | --- | --- | --- |
"""
FURTHER = """\
## An adapter that is trained further

`llms: [{name: tuned, source: FOLDER, adapter: continue}]` begins with the weights of a LoRA adapter in place of new ones: docs/models.md.
Its `lora_rank`, `lora_alpha`, `lora_dropout`, `lora_target`, `additional_target`, `use_rslora` and `use_dora` count, and stand in the job's document;
the learning rate and all else are the group's.

"""
STRATEGIES = """\
## Several processes

The number of processes and what they share out change how fast a job trains and what memory it needs, never what it learns:
`tests/recipes/test_distributed.py` holds the losses of 20 steps over two processes against those of one. `accelerate launch` reads
the files of `config/accelerate`, and DeepSpeed those of `config/deepspeed`.

| `resources` | each process has | take it when |
| --- | --- | --- |
| `processes: 1` | everything | the model, its gradients and its optimiser fit one GPU |
| `processes: 4` | everything (DDP) | the same, and it shall be faster |
| `processes: 4, deepspeed: zero1` | weights, gradients, a quarter of the optimiser state | full fine-tuning does not fit by a little |
| `processes: 4, deepspeed: zero2` | weights, a quarter of the rest | the same; the usual choice for a model that fits |
| `processes: 4, deepspeed: zero3` | a quarter of everything | the weights alone do not fit one GPU |
| `processes: 4, fsdp: true` | a quarter of everything | the same, by PyTorch itself (FSDP2): it compiles nothing, so it also runs on CPUs without a compiler |
| `offload: true` beside `deepspeed` | the same | the optimiser state (under `zero3` the weights too) moves to the machine's memory: slower, the last resort |

Each of them takes `nodes: n` on a Kubernetes cluster: the environment of a pod says which machine it is and where the first one is
(`JOB_COMPLETION_INDEX`, `DTX_COORDINATOR`).

- An attempt resumes only from a checkpoint of as many processes that share out the same; from any other the optimiser could not be
  restored, so training begins anew and the log says so.
- `kto` alone depends on the processes a little: it estimates how far the model has moved over the rows that all of them take in one pass.
- Offloaded steps are taken by the group's own `optim`, not by DeepSpeed's CPU Adam, which would have to be compiled.
- On CPUs DeepSpeed compiles one operator when it starts (the trainer image brings it). Without a compiler the job is refused with
  that reason; the lock that a killed compilation leaves is removed.

"""
SPEED = """\
## What a job costs

`python -m benchmarks.training` trains one LoRA job beside LLaMA-Factory 0.9.5 and beside transformers' Trainer: the same 192 rows, the same
model of 11 M parameters, 24 steps of 8 rows in fp32, whole processes in alternating order. On a busy machine, on one core, two rounds, by
seconds of CPU (lowest and highest):

| ours: `prepare` and `train` | of LLaMA-Factory's defaults | of LLaMA-Factory tuned (`neat_packing`, no gradient checkpointing) | of the Trainer |
| --- | --- | --- | --- |
| both | 0.49 (0.46 to 0.52) | 0.88 (0.79 to 0.96) | 0.53 (0.48 to 0.58) |
| `train` alone, as for each further job on the same rows | 0.44 (0.41 to 0.47) | 0.79 (0.71 to 0.87) | 0.48 (0.43 to 0.53) |

It comes from batches without padding, logits where there is a label alone, no gradient checkpointing on a CPU, and passes of some 512 tokens there.
The same command measures a GPU where there is one; that has not been done yet.

"""
RULES_HEAD = """\
## What does not go together

Told when an experiment is planned, with the place in the file. A value outside of the advised range is a note of the plan, no mistake.

| hyperparameter | why not | what to do |
| --- | --- | --- |
"""

ANY = SimpleNamespace(
    stage="the stage",
    finetuning_type="this method",
    optim="this optimiser",
    init_lora_weights="this initialisation",
    quantization_bit="4 or 8",
    global_batch_size="as many as global_batch_size",
)
"""What stands for a group's values in the rules."""


def page() -> str:
    """docs/training.md."""
    reasons = list(dict.fromkeys(reason for stage in STAGES for method in METHODS if (reason := obstacle(stage, method))))
    notes = "".join(f"{number}. {reason}\n" for number, reason in enumerate(reasons, 1))
    rules = "".join(f"| `{rule.key}` | {_readable(rule.problem)} | {_readable(rule.remedy)} |\n" for rule in (*RULES, *RESOURCE_RULES))
    return f"{HEAD}{_table(reasons)}\n{notes}\n{_methods()}\n{GROUPS_HEAD}{_groups()}\n{FURTHER}{STRATEGIES}{SPEED}{RULES_HEAD}{rules}"


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


def _groups() -> str:
    groups = load_catalog(config_folder()).groups.values()
    return "".join(
        f"| `{group.name}` | {_quoted(group.extends)} | {_own(group)} | {group.description} |\n" for group in sorted(groups, key=lambda one: one.name)
    )


def _own(group: HyperparameterGroup) -> str:
    return ", ".join(f"`{key}: {value}`" for key, value in group.own_values().items())


def _quoted(name: str | None) -> str:
    return f"`{name}`" if name else ""


def _written(method: str) -> str:
    return ", ".join(f"{key}: {value}" for key, value in values_of("sft", method).items() if key != "stage") or "finetuning_type: lora"


def _readable(text: str) -> str:
    """What a plan says with the group's own values, said of any."""
    return text.format(values=ANY)
