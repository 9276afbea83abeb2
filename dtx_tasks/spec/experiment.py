"""The FinetuneExperiment: base LLMs x datasets x hyperparameter groups x seeds, and one way of scoring."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from dtx_tasks.spec.base import BY_NAME, DEFINED_HERE, Name, SpecModel, name_or_definition
from dtx_tasks.spec.dataset import Dataset
from dtx_tasks.spec.hyperparameters import HyperparameterGroup
from dtx_tasks.spec.llm import LLM
from dtx_tasks.spec.scoring import Metric, Scoring

Referred = Annotated[Name, Tag(BY_NAME)]
EITHER = Discriminator(name_or_definition)
LLMReference = Annotated[Referred | Annotated[LLM, Tag(DEFINED_HERE)], EITHER]
DatasetReference = Annotated[Referred | Annotated[Dataset, Tag(DEFINED_HERE)], EITHER]
GroupReference = Annotated[Referred | Annotated[HyperparameterGroup, Tag(DEFINED_HERE)], EITHER]
ScoringReference = Annotated[Referred | Annotated[Scoring, Tag(DEFINED_HERE)], EITHER]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
TeamName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
RegisteredName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/:\x00-\x1f]+$")]


class JobEntry(SpecModel):
    """One job, named explicitly."""

    llm: LLMReference
    """The LLM to start from. 基座模型"""

    dataset: DatasetReference
    """The Dataset to learn from. 数据集"""

    hyperparameters: GroupReference
    """The hyperparameter group. 超参组"""

    seed: Seed = 42
    """The seed of the data order, of new weights and of dropout. 随机种子"""


class Combination(SpecModel):
    """Cells of the matrix: those that agree with every key that is named."""

    llm: Name | None = None
    """Only cells with this LLM."""

    dataset: Name | None = None
    """Only cells with this Dataset."""

    hyperparameters: Name | None = None
    """Only cells with this hyperparameter group."""

    seed: Seed | None = None
    """Only cells with this seed."""


class Matrix(SpecModel):
    """Every LLM with every Dataset, every hyperparameter group and every seed."""

    llms: Annotated[tuple[LLMReference, ...], Field(min_length=1)]
    """Base LLMs, by name or defined in place. 基座模型"""

    datasets: Annotated[tuple[DatasetReference, ...], Field(min_length=1)]
    """Datasets, by name or defined in place. 数据集"""

    hyperparameters: Annotated[tuple[GroupReference, ...], Field(min_length=1)]
    """Hyperparameter groups, by name or defined in place. 超参组"""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (42,)
    """Seeds. 随机种子"""

    exclude: tuple[Combination, ...] = ()
    """Cells to leave out. 排除"""

    include: tuple[JobEntry, ...] = ()
    """Jobs to add to the cells. 额外任务"""


class Selection(SpecModel):
    """How the best result is chosen."""

    metric: Metric = "exact_match"
    """The metric, on the validation rows, that decides. 选择指标"""


class Resources(SpecModel):
    """What one pack runs on; changes how fast, never what is learned."""

    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    """Machines that train one pack together; more than one needs a Kubernetes cluster. 节点数"""

    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Training processes on each machine: GPUs where there are any, CPU processes otherwise. 每节点进程数"""

    cpus: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of each process; by default the machine's cores shared among `parallelism` x `processes`. 每进程线程数"""

    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi)$", examples=["64Gi"])] | None = None
    """Memory of each machine's pod on a Kubernetes cluster, such as 64Gi or 512Mi; by default as its pod template says. 每节点内存"""

    deepspeed: Literal["zero1", "zero2", "zero3"] | None = None
    """Shard optimiser state (`zero1`), gradients (`zero2`) and weights too (`zero3`) over the processes. DeepSpeed 策略"""

    offload: bool = False
    """Keep what DeepSpeed shards in the machine's memory rather than the GPU's, and take the optimiser's step there. 卸载到内存"""

    fsdp: bool = False
    """Shard optimiser state, gradients and weights over the processes by PyTorch itself, in place of DeepSpeed. FSDP2 分片"""

    @property
    def num_processes(self) -> int:
        """Training processes of a pack, over all its machines."""
        return self.nodes * self.processes

    @property
    def strategy(self) -> str:
        """What the processes share out, as config/deepspeed and config/accelerate call it."""
        if self.deepspeed:
            return f"{self.deepspeed}-offload" if self.offload else self.deepspeed
        return "fsdp" if self.fsdp else "ddp" if self.num_processes > 1 else "one"


class FinetuneExperiment(SpecModel):
    """A batch of fine-tuning jobs that are judged in the same way."""

    kind: Literal["FinetuneExperiment"] = "FinetuneExperiment"
    """What this file is."""

    name: Name
    """The experiment's name, in any language. 实验名称"""

    description: str = ""
    """What a reader should know about it."""

    team: TeamName = "default"
    """Whose it is: results are reused within a team and never beyond. 团队"""

    matrix: Matrix | None = None
    """The jobs as a product. 任务矩阵"""

    jobs: tuple[JobEntry, ...] = ()
    """Jobs named one by one, beside the matrix or in place of it. 任务列表"""

    scoring: ScoringReference = Scoring()
    """How every job and every base is judged. 评估方式"""

    selection: Selection = Selection()
    """How the best is chosen. 选择"""

    allow_leakage: Annotated[str, Field(min_length=1, examples=["the test split repeats greetings on purpose"])] | None = None
    """Why rows that are scored on may be learned from too; without a reason such rows stop the experiment. 允许数据泄漏的理由"""

    resources: Resources = Resources()
    """What one pack runs on. 资源"""

    parallelism: Annotated[int, Field(ge=1, le=1024)] = 2
    """Packs of this experiment that run at the same time. 任务并行数"""

    registered_name: RegisteredName | None = None
    """The model in MLflow's registry that the best one becomes a version of; the experiment's name by default. 注册名"""

    schedule: Annotated[str, Field(min_length=1, examples=["0 2 * * *"])] | None = None
    """A cron expression, for files in the folder of scheduled experiments. 定时"""
