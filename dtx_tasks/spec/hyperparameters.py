"""Hyperparameters, under the names that LLaMA-Factory and TrainingArguments use."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Discriminator, Field, JsonValue, Tag

from dtx_tasks.spec.base import ROW_COUNT, ROW_SHARE, Name, SpecModel
from dtx_tasks.spec.choices import FinetuningType, InitLoraWeights, Optimizer, PreferenceLoss, Scheduler, Stage
from dtx_tasks.spec.dataset import RowCount, RowShare

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Names = Annotated[str, Field(min_length=1)]
"""Module names separated by commas."""


class Advised(NamedTuple):
    """The range that is advised: outside of it is a warning, not a mistake. Source: DataTunerX's form."""

    low: float | None
    """None for no such bound."""
    high: float | None

    def holds(self, value: float) -> bool:
        """Whether a value is inside."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"


def _kind_of_size(value: Any) -> str:
    return ROW_COUNT if isinstance(value, int) else ROW_SHARE


ValidationSize = Annotated[Annotated[RowCount, Tag(ROW_COUNT)] | Annotated[RowShare, Tag(ROW_SHARE)], Discriminator(_kind_of_size)]


class Hyperparameters(SpecModel):
    """Everything about a job that changes what it learns, except the LLM, the Dataset and the seed."""

    stage: Stage = "sft"
    """What is learned: `sft` answers, `pt` plain text, `rm` a reward, `dpo`, `kto`, `orpo`, `simpo` preferences, `rloo`, `grpo` by a reward. 训练阶段"""

    finetuning_type: FinetuningType = "lora"
    """Which weights: all (`full`), some (`freeze`), low-rank adapters (`lora`), or one of PEFT's smaller methods. 微调方法"""

    learning_rate: Annotated[float, Field(gt=0, le=1), Advised(1e-5, 1e-3)] = 1e-4
    """The peak learning rate. 学习率"""

    num_train_epochs: Annotated[float, Field(gt=0, le=1000), Advised(1, 10)] = 3.0
    """Passes over the train split; `max_steps` overrules it. 训练轮数"""

    max_steps: Count | None = None
    """Optimiser steps; by default they follow from `num_train_epochs`. 最大步数"""

    global_batch_size: Annotated[int, Field(ge=1), Advised(8, 64)] = 16
    """Rows for one optimiser step, over all processes and accumulation steps. 全局批大小"""

    per_device_train_batch_size: Count | None = None
    """Rows in one forward pass of one process; changes speed and memory, not the result, except that of kto: there 8 at most by default. 单卡批大小"""

    cutoff_len: Annotated[int, Field(ge=8)] = 1024
    """A row is cut off after so many tokens. 截断长度"""

    packing: bool = False
    """Lay rows end to end in blocks of `cutoff_len`, each seeing only itself: no padding. 序列打包"""

    mask_history: bool = False
    """Of a conversation learn the last answer only; when it is too long the last turn is kept first. 仅学习最后一轮"""

    train_on_prompt: bool = False
    """Learn the questions too, not only the answers. 学习提问部分"""

    lr_scheduler_type: Scheduler = "cosine"
    """How the learning rate falls. 学习率调节器"""

    lr_scheduler_kwargs: dict[str, JsonValue] | None = None
    """What the schedule takes beside that, under transformers' names: `min_lr`, `num_cycles`, `num_decay_steps`. 学习率调节器参数"""

    warmup_ratio: Share = 0.0
    """The share of the steps in which the learning rate rises. 预热比例"""

    warmup_steps: Annotated[int, Field(ge=1), Advised(500, 2000)] | None = None
    """The same as a number of steps; in place of `warmup_ratio`. 预热步数"""

    optim: Optimizer = "adamw_torch"
    """The optimiser, under transformers' name. 优化器"""

    optim_args: Annotated[str, Field(min_length=1, examples=["rank=64, update_proj_gap=100, scale=0.10"])] | None = None
    """What the optimiser takes beside the learning rate, as transformers reads it. 优化器参数"""

    optim_target_modules: Names | None = None
    """galore, apollo: the modules whose gradients are projected; all linear layers by default. 优化器作用模块"""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled weight decay. 权重衰减"""

    max_grad_norm: Annotated[float, Field(ge=0), Advised(0.5, 1.0)] = 1.0
    """Gradients are clipped to this norm; 0 turns clipping off. 最大梯度范数"""

    label_smoothing_factor: Share = 0.0
    """The share of each label that is spread over all tokens. 标签平滑"""

    neftune_noise_alpha: Annotated[float, Field(gt=0), Advised(None, 15)] | None = None
    """Noise on the embeddings while training (NEFTune); 5 is usual. NEFTune 噪声参数"""

    compute_type: Literal["fp32", "bf16", "fp16", "pure_bf16"] = "fp32"
    """The number format of the forward pass; `pure_bf16` keeps the trained weights in it too; `fp16` needs a GPU. 计算类型"""

    lora_rank: Annotated[int, Field(ge=1, le=1024), Advised(4, 16)] = 8
    """Rank of the adapters. LoRA 秩"""

    lora_alpha: Annotated[int, Field(ge=1), Advised(8, 32)] | None = None
    """Scale of the adapters; twice the rank by default. LoRA 缩放系数"""

    lora_dropout: Annotated[float, Field(ge=0, lt=1), Advised(None, 0.3)] = 0.0
    """Dropout before the adapters. LoRA 随机丢弃"""

    lora_target: Annotated[str, Field(min_length=1, examples=["all", "q_proj,v_proj"])] = "all"
    """`all` linear layers, or module names separated by commas. LoRA 作用模块"""

    additional_target: Names | None = None
    """Modules that are trained and kept whole beside the adapters, such as `embed_tokens,lm_head`. 附加训练模块"""

    use_rslora: bool = False
    """Scale by the root of the rank (rsLoRA). rsLoRA"""

    use_dora: bool = False
    """Learn magnitude and direction apart (DoRA). DoRA"""

    init_lora_weights: InitLoraWeights = "default"
    """How adapters begin: `pissa` and `olora` from the base's own weights. LoRA 初始化"""

    pissa_iter: Annotated[int, Field(ge=-1)] = 16
    """pissa: iterations of the fast decomposition; -1 is the exact one. PiSSA 迭代次数"""

    loraplus_lr_ratio: Annotated[float, Field(ge=1), Advised(1, 32)] | None = None
    """The learning rate of the adapters' B over that of A (LoRA+); 16 is usual. LoRA+ 学习率比例"""

    freeze_trainable_layers: Annotated[int, Field(ge=-1000, le=1000)] = 2
    """freeze: train the last so many layers, or the first ones where it is negative. 可训练层数"""

    freeze_trainable_modules: Names = "all"
    """freeze: which modules of those layers: `all`, or names separated by commas. 可训练模块"""

    freeze_extra_modules: Names | None = None
    """freeze: modules outside of the layers to train too, such as `norm,lm_head`. 额外可训练模块"""

    num_virtual_tokens: Annotated[int, Field(ge=1, le=4096)] = 20
    """prompt_tuning, prefix_tuning, p_tuning: how many tokens are learned. 虚拟词元数"""

    quantization_bit: Literal[4, 8] | None = None
    """Keep the frozen weights in so many bits (QLoRA). 量化等级"""

    quantization_method: Literal["bnb", "hqq", "eetq"] = "bnb"
    """By bitsandbytes or by HQQ. 量化方法"""

    quantization_type: Literal["nf4", "fp4"] = "nf4"
    """bnb with 4 bits: the number format. 量化数据类型"""

    double_quantization: bool = True
    """bnb with 4 bits: quantise the scales too. 双重量化"""

    rope_scaling: Literal["linear", "dynamic", "yarn", "llama3"] | None = None
    """Stretch positions to `cutoff_len` where the model was made for fewer. RoPE 插值方式"""

    flash_attn: Literal["auto", "eager", "sdpa", "fa2"] = "auto"
    """How attention is computed; `fa2` (FlashAttention 2) needs a GPU. 加速方式"""

    enable_liger_kernel: bool = False
    """Fused kernels (Liger); needs a GPU. Liger 内核"""

    torch_compile: bool = False
    """Compile the model before the first step. 编译加速"""

    use_unsloth: bool = False
    """Unsloth does not install beside today's TRL: the plan says so. Unsloth"""

    gradient_checkpointing: bool | None = None
    """Compute activations again in place of keeping them; by default on a GPU. 梯度检查点"""

    pref_beta: Annotated[float, Field(gt=0)] = 0.1
    """dpo, kto, orpo, simpo: how strongly preferences are followed; rloo, grpo: how much staying near the base counts. 偏好强度"""

    pref_loss: PreferenceLoss = "sigmoid"
    """dpo: the loss. 偏好损失"""

    pref_ftx: Annotated[float, Field(ge=0)] = 0.0
    """dpo: the weight of learning the chosen answers as sft does, added to the loss. 偏好混合监督系数"""

    dpo_label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """dpo: the share of preferences that are taken to be the wrong way round. DPO 标签平滑"""

    simpo_gamma: Annotated[float, Field(ge=0)] = 0.5
    """simpo: the margin between the two answers. SimPO 间隔"""

    kto_chosen_weight: Positive = 1.0
    """kto: the weight of good answers. KTO 正样本权重"""

    kto_rejected_weight: Positive = 1.0
    """kto: the weight of bad answers. KTO 负样本权重"""

    reward_model: Annotated[str, Field(min_length=1, examples=["models/reward"])] | None = None
    """rloo, grpo: the folder of a reward model, as `rm` writes it. 奖励模型"""

    num_generations: Annotated[int, Field(ge=2)] = 4
    """rloo, grpo: answers to each prompt, compared with each other. 采样数"""

    max_new_tokens: Count = 128
    """rloo, grpo: the most tokens of such an answer. 最大生成长度"""

    temperature: Annotated[float, Field(gt=0, le=2)] = 1.0
    """rloo, grpo: how freely it is drawn. 采样温度"""

    logging_steps: Annotated[int, Field(ge=1)] = 5
    """A progress event every so many steps. 日志间隔"""

    eval_steps: Count | None = None
    """Measure the loss on the validation split every so many steps; never by default. 验证间隔"""

    load_best_model_at_end: bool = False
    """The job's model is the one of the lowest validation loss, not the last one; needs `eval_steps`. 训练结束时加载最优模型"""

    save_steps: Count = 100
    """A checkpoint to resume from every so many steps. 保存间隔"""

    save_minutes: Annotated[float, Field(gt=0)] | None = None
    """A checkpoint at least every so many minutes too. 保存间隔（分钟）"""

    save_total_limit: Annotated[int, Field(ge=1)] = 2
    """How many of these checkpoints are kept, beside the best of them where `eval_steps` measures that. 保留检查点数"""


WITHOUT_EFFECT = frozenset(
    {
        "per_device_train_batch_size",
        "logging_steps",
        "eval_steps",
        "save_steps",
        "save_minutes",
        "save_total_limit",
        "gradient_checkpointing",
        "flash_attn",
        "enable_liger_kernel",
        "torch_compile",
        "use_unsloth",
    }
)
"""Hyperparameters that change how a job runs and not what it learns: not part of its identity.

`eval_steps` is, where the validation loss decides, and `per_device_train_batch_size` in kto, which estimates over the rows of a pass.
"""


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

    max_samples: Count | None = None
    """Use at most the first so many rows of each train split: the same in all groups, and moved to `max_samples` of their Datasets. 最大样本数"""

    def own_values(self) -> dict[str, object]:
        """What this group itself names, without what it extends."""
        return {key: getattr(self, key) for key in Hyperparameters.model_fields if key in self.model_fields_set}
