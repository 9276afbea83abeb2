"""The Dataset: where rows come from, in which columns, and which split each file is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dtx_tasks.spec.base import Name, SpecModel

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Column = Annotated[str, Field(min_length=1)]
DataPath = Annotated[str, Field(min_length=1, examples=["data/train.jsonl"])]


class Columns(SpecModel):
    """Which column of the file holds which part of a row; a part that is not named keeps its default."""

    instruction: Column = "instruction"
    """What is asked. 指令"""

    input: Column = "input"
    """What it is asked about; joined to the instruction by a line break; may be absent or empty. 输入"""

    output: Column = "output"
    """The answer to learn. 输出"""

    system: Column | None = None
    """The system message of the row; none by default. 系统提示"""


class Dataset(SpecModel):
    """Rows in alpaca form, one file a split: .jsonl, .json (an array) or .csv, UTF-8."""

    name: Name
    """The name that experiments refer to it by. 数据集名称"""

    description: str = ""
    """What a reader should know about it."""

    format: Literal["alpaca"] = "alpaca"
    """How a row is laid out. 格式"""

    train: DataPath
    """The file to learn from; a relative path counts from the file that names it. 训练集"""

    validation: DataPath | None = None
    """The file that decides which job is best. 验证集"""

    test: DataPath | None = None
    """The file that is reported and decides nothing. 测试集"""

    columns: Columns = Columns()
    """The feature map. 字段映射"""

    max_samples: Annotated[int, Field(ge=1)] | None = None
    """Use only the first so many rows of the train split. 最大样本数"""

    def path_of(self, split: Split) -> str | None:
        """The file of a split, or None where there is none."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]
