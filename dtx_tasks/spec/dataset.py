"""The Dataset: where rows come from, how they are laid out, and which split each row is in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from dtx_tasks.spec.base import BY_NAME, DEFINED_HERE, LEFT_OUT, ROW_COUNT, ROW_SHARE, SUBSET, WRITTEN, Name, SpecModel, name_or_definition

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
HELD_OUT: tuple[Split, ...] = ("validation", "test")

Format = Literal["alpaca", "sharegpt", "openai", "prompt_completion", "text"]
Kind = Literal["conversations", "preferences", "labels", "prompts", "text"]

Column = Annotated[str, Field(min_length=1)]
DataPath = Annotated[str, Field(min_length=1, examples=["data/train.jsonl"])]


class Subset(SpecModel):
    """Rows of the train file that say themselves which split they are in."""

    subset: Annotated[str, Field(min_length=1, examples=["dev"])]
    """What those rows hold in the column `columns.subset`. 子集"""


def _written_or_left_out(value: Any) -> str:
    return LEFT_OUT if value is False else WRITTEN


def _kind_of_split(value: Any) -> str:
    if isinstance(value, dict | Subset):
        return SUBSET
    if isinstance(value, bool) or not isinstance(value, int | float):
        return WRITTEN
    return ROW_COUNT if isinstance(value, int) else ROW_SHARE


OptionalColumn = Annotated[Annotated[Column, Tag(WRITTEN)] | Annotated[Literal[False], Tag(LEFT_OUT)], Discriminator(_written_or_left_out)]
RowCount = Annotated[int, Field(ge=1)]
RowShare = Annotated[float, Field(gt=0, lt=1)]
HeldOut = Annotated[
    Annotated[DataPath, Tag(WRITTEN)] | Annotated[RowCount, Tag(ROW_COUNT)] | Annotated[RowShare, Tag(ROW_SHARE)] | Annotated[Subset, Tag(SUBSET)],
    Discriminator(_kind_of_split),
]


class Columns(SpecModel):
    """Which column of the file holds which part of a row; a part that is not named keeps its format's name, and naming one unsets no other."""

    instruction: Column = "instruction"
    """alpaca: what is asked. 指令"""

    input: OptionalColumn = "input"
    """alpaca: what it is asked about; joined to the instruction by a line break; may be absent or empty; `false` leaves it out. 输入"""

    output: Column = "output"
    """alpaca: the answer to learn. 输出"""

    system: OptionalColumn | None = None
    """The system message of the row; `system` in sharegpt, none in alpaca; `false` leaves it out. 系统提示"""

    history: OptionalColumn | None = None
    """alpaca: earlier turns, a list of pairs of question and answer; none by default. 历史对话"""

    messages: Column | None = None
    """The turns: `conversations` in sharegpt, `messages` in openai. 对话"""

    tools: OptionalColumn | None = None
    """JSON Schemas of the functions that may be called; `tools` in sharegpt and openai, none in alpaca; `false` leaves them out. 工具"""

    prompt: Column | None = None
    """prompt_completion: what is asked; `prompt`. 提问"""

    completion: Column | None = None
    """prompt_completion: the answer to learn; `completion`. 回答"""

    text: Column | None = None
    """text: the text to learn; `text`. 文本"""

    chosen: Column | None = None
    """Rows of preferences: the better answer; `chosen`. 偏好回答"""

    rejected: Column | None = None
    """Rows of preferences: the worse answer; `rejected`. 拒绝回答"""

    kto_tag: Column | None = None
    """Rows of labels: whether the answer is good; `kto_tag`, in openai `label`. KTO 标签"""

    images: OptionalColumn | None = None
    """Paths of the row's images, one for each `<image>`; `images` in sharegpt and openai, none in alpaca; `false` leaves them out. 图像"""

    videos: OptionalColumn | None = None
    """The same of videos, one for each `<video>`. 视频"""

    audios: OptionalColumn | None = None
    """The same of sounds, one for each `<audio>`. 音频"""

    subset: Column | None = None
    """Which split a row is in, where `validation` or `test` is a subset of the train file. 子集"""


class Tags(SpecModel):
    """How the turns of sharegpt and openai rows say who speaks; a tag that is not named keeps its format's word."""

    role: Column | None = None
    """The key of the speaker: `from` in sharegpt, `role` in openai. 角色键"""

    content: Column | None = None
    """The key of what is said: `value` in sharegpt, `content` in openai. 内容键"""

    user: Column | None = None
    """The speaker who asks: `human` in sharegpt, `user` in openai. 用户"""

    assistant: Column | None = None
    """The speaker who answers: `gpt` in sharegpt, `assistant` in openai. 助手"""

    observation: Column | None = None
    """What a tool returned: `observation` in sharegpt, `tool` in openai. 工具返回"""

    function: Column | None = None
    """A call of a tool, as a turn of its own: `function_call`. 工具调用"""

    system: Column | None = None
    """The system message as the first turn: `system`. 系统"""


Parameters = dict[str, JsonValue]
NamedOrHere = Annotated[Annotated[Name, Tag(BY_NAME)] | Annotated[Parameters, Tag(DEFINED_HERE)], Discriminator(name_or_definition)]


class Plugin(SpecModel):
    """A data plugin, and what it is told: it rewrites the rows of every file before they are read by their format."""

    name: Annotated[str, Field(min_length=1, examples=["drop-short"])]
    """The name under which its package offers it; `dtx plugin list` shows what is installed. 插件名称"""

    parameters: NamedOrHere = Field(default_factory=dict)
    """As the plugin's JSON Schema has them, or the name of PluginParameters; those left out have its defaults. 插件参数"""


class PluginParameters(SpecModel):
    """What a data plugin is told, under a name."""

    name: Name
    """The name that Datasets refer to it by. 参数组名称"""

    description: str = ""
    """What a reader should know about it."""

    plugin: Annotated[str, Field(min_length=1, examples=["drop-short"])]
    """The plugin that they are for. 插件名称"""

    parameters: Parameters = Field(default_factory=dict)
    """As its JSON Schema has them. 插件参数"""


class Dataset(SpecModel):
    """Rows with their splits: .jsonl, .json (an array), .csv or .parquet, each also .gz or .zst; text in UTF-8."""

    name: Name
    """The name that experiments refer to it by. 数据集名称"""

    description: str = ""
    """What a reader should know about it."""

    format: Format = "alpaca"
    """How a row is laid out; question and answer in columns of other names are `alpaca` with `columns`. 格式"""

    kind: Kind | None = None
    """What a row holds: `conversations` (sft), `preferences` (dpo), `labels` (kto), `prompts` (ppo), `text` (pt); by default as the columns say. 类型"""

    train: DataPath
    """A file or a folder to learn from, here or at an address; a relative path counts from the file that names it. 训练集"""

    validation: HeldOut | None = None
    """What decides which job is best: a file or folder, or rows taken out of the train file: a share (0.1), a number (200) or a subset. 验证集"""

    test: HeldOut | None = None
    """What is reported and decides nothing: the same choices. 测试集"""

    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Which rows a share or a number takes: the same ones for every job. 划分种子"""

    columns: Columns = Columns()
    """The feature map. 字段映射"""

    tags: Tags = Tags()
    """Who speaks, in sharegpt and openai rows. 角色标签"""

    plugins: tuple[Plugin, ...] = ()
    """What rewrites its rows when they are prepared, one after the other. 数据插件"""

    max_samples: Annotated[int, Field(ge=1)] | None = None
    """Use only the first so many rows of the train split. 最大样本数"""

    def path_of(self, split: Split) -> str | None:
        """The file of a split, or None where it has none of its own."""
        written = {"train": self.train, "validation": self.validation, "test": self.test}[split]
        return written if isinstance(written, str) else None

    @property
    def portions(self) -> dict[Split, float | int | Subset]:
        """What is taken out of the train file, by the split that it goes to."""
        written: dict[Split, HeldOut | None] = {"validation": self.validation, "test": self.test}
        return {split: portion for split, portion in written.items() if portion is not None and not isinstance(portion, str)}
