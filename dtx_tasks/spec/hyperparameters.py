"""Hyperparameters, under the names that LLaMA-Factory and TrainingArguments use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from dtx_tasks.spec.base import ROW_COUNT, ROW_SHARE, Name, SpecModel
from dtx_tasks.spec.dataset import RowCount, RowShare

Scheduler = Literal["linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt"]
Share = Annotated[float, Field(ge=0, lt=1)]


def _kind_of_size(value: Any) -> str:
    return ROW_COUNT if isinstance(value, int) else ROW_SHARE


ValidationSize = Annotated[Annotated[RowCount, Tag(ROW_COUNT)] | Annotated[RowShare, Tag(ROW_SHARE)], Discriminator(_kind_of_size)]


class Hyperparameters(SpecModel):
    """Everything about a job that changes what it learns, except the LLM, the Dataset and the seed."""

    finetuning_type: Literal["lora", "full"] = "lora"
    """Train low-rank adapters, or every weight. 微调方法"""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """The peak learning rate. 学习率"""

    num_train_epochs: Annotated[float, Field(gt=0, le=1000)] = 3.0
    """Passes over the train split; `max_steps` overrules it. 训练轮数"""

    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps; by default they follow from `num_train_epochs`. 最大步数"""

    global_batch_size: Annotated[int, Field(ge=1)] = 16
    """Rows for one optimiser step, over all processes and accumulation steps. 全局批大小"""

    per_device_train_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Rows in one forward pass of one process; changes speed and memory, not the result. 单卡批大小"""

    cutoff_len: Annotated[int, Field(ge=8)] = 1024
    """A row is cut off after so many tokens. 截断长度"""

    mask_history: bool = False
    """Of a conversation learn the last answer only; when it is too long the last turn is kept first. 仅学习最后一轮"""

    train_on_prompt: bool = False
    """Learn the questions too, not only the answers. 学习提问部分"""

    lr_scheduler_type: Scheduler = "cosine"
    """How the learning rate falls. 学习率调度器"""

    warmup_ratio: Share = 0.0
    """The share of the steps in which the learning rate rises. 预热比例"""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled weight decay of AdamW. 权重衰减"""

    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are clipped to this norm; 0 turns clipping off. 最大梯度范数"""

    lora_rank: Annotated[int, Field(ge=1, le=1024)] = 8
    """Rank of the adapters. LoRA 秩"""

    lora_alpha: Annotated[int, Field(ge=1)] | None = None
    """Scale of the adapters; twice the rank by default. LoRA 缩放系数"""

    lora_dropout: Share = 0.0
    """Dropout before the adapters. LoRA 随机丢弃"""

    lora_target: Annotated[str, Field(min_length=1, examples=["all", "q_proj,v_proj"])] = "all"
    """`all` linear layers, or module names separated by commas. LoRA 作用模块"""

    compute_type: Literal["fp32", "bf16", "fp16"] = "fp32"
    """The number format of the forward pass; `fp16` needs a GPU. 计算类型"""

    logging_steps: Annotated[int, Field(ge=1)] = 5
    """A progress event every so many steps. 日志间隔"""

    save_steps: Annotated[int, Field(ge=1)] = 100
    """A checkpoint to resume from every so many steps. 保存间隔"""


WITHOUT_EFFECT = frozenset({"per_device_train_batch_size", "logging_steps", "save_steps"})
"""Hyperparameters that change how a job runs and not what it learns: not part of its identity."""

LORA_ONLY = frozenset(name for name in Hyperparameters.model_fields if name.startswith("lora_"))


class HyperparameterGroup(Hyperparameters):
    """A named, reusable set of hyperparameters."""

    name: Name
    """The name that experiments refer to it by. 超参组名称"""

    description: str = ""
    """What a reader should know about it."""

    extends: Name | None = None
    """The group whose values count wherever this one names none. 继承自"""

    val_size: ValidationSize | None = None
    """A share (0.1) or a number (200) of rows to validate on: the same in all groups, and moved to `validation` of their Datasets. 验证集比例"""

    def own_values(self) -> dict[str, object]:
        """What this group itself names, without what it extends."""
        return {key: getattr(self, key) for key in Hyperparameters.model_fields if key in self.model_fields_set}
