"""How a Dataset's rows are read: every column and tag by name, the formats' own names filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dtx_tasks.errors import Mistake
from dtx_tasks.spec.dataset import Columns, Tags

if TYPE_CHECKING:
    from dtx_tasks.spec.dataset import Format, Kind

MEDIA = ("images", "videos", "audios")
OPTIONAL = ("input", "system", "history", "tools", *MEDIA)
"""Parts that a row may do without."""

OWN_COLUMNS: dict[Format, dict[str, str | None]] = {
    "alpaca": {"instruction": "instruction", "input": "input", "output": "output", "system": None, **dict.fromkeys(("history", "tools", *MEDIA))},
    "sharegpt": {"messages": "conversations", "system": "system", "tools": "tools", **{part: part for part in MEDIA}},
    "openai": {"messages": "messages", "tools": "tools", **{part: part for part in MEDIA}},
    "prompt_completion": {"prompt": "prompt", "completion": "completion", "system": None},
    "text": {"text": "text"},
}
"""The columns of each format under the names that it has where the author gives none."""

OWN_TAGS: dict[Format, dict[str, str]] = {
    "sharegpt": {
        "role": "from",
        "content": "value",
        "user": "human",
        "assistant": "gpt",
        "observation": "observation",
        "function": "function_call",
        "system": "system",
    },
    "openai": {
        "role": "role",
        "content": "content",
        "user": "user",
        "assistant": "assistant",
        "observation": "tool",
        "function": "function_call",
        "system": "system",
    },
}

KINDS: dict[Format, tuple[Kind, ...]] = {
    "alpaca": ("conversations", "preferences", "labels", "prompts"),
    "sharegpt": ("conversations", "preferences", "labels", "prompts"),
    "openai": ("conversations", "preferences", "labels", "prompts"),
    "prompt_completion": ("conversations", "prompts"),
    "text": ("text",),
}
"""What the rows of each format can hold."""

UNANSWERED: tuple[Kind, ...] = ("preferences", "prompts")
"""Kinds without the format's own answer column."""


@dataclass(frozen=True)
class Reading:
    """How rows are read.

    Attributes:
        format: How a row is laid out.
        kind: What it holds.
        columns: For each part that is read the column that holds it, None for a part that is left out.
        tags: For each part of a turn the word that stands for it; empty where there are no turns.
        named: Columns of optional parts that the author named: some row must have them.
        subset: The column that says which split a row is in.
    """

    format: Format
    kind: Kind
    columns: dict[str, str | None]
    tags: dict[str, str] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    subset: str | None = None

    @property
    def identity(self) -> list[Any]:
        """What changes when rows would be read in another way, and only then."""
        columns = {part: column for part, column in self.columns.items() if column is not None or part == "system"}
        is_plain = self.kind == "conversations" and not self.tags and self.subset is None
        return [self.format, columns] if is_plain else [self.format, columns, self.kind, self.tags, self.subset]


def reading_of(row_format: Format, kind: Kind | None, columns: Columns, tags: Tags) -> Reading:
    """How rows are read by what an author wrote.

    Args:
        row_format: How a row is laid out.
        kind: What it holds; None for what the format and the columns say.
        columns: The feature map.
        tags: Who speaks.
    """
    found = kind or _kind_of(row_format, columns)
    own = _own_columns(row_format, found)
    names: dict[str, str | None] = {part: _name(getattr(columns, part), column) for part, column in own.items()}
    named = tuple(sorted(name for part, name in names.items() if part in OPTIONAL and name and name != own[part]))
    said = {part: word for part, word in tags.model_dump().items() if word is not None}
    turns = OWN_TAGS.get(row_format, {})
    return Reading(row_format, found, names, {**turns, **said} if turns else {}, named, columns.subset)


def misfits(row_format: Format, kind: Kind | None, columns: Columns, tags: Tags) -> list[Mistake]:
    """Columns, tags and a kind that mean nothing in a format: nothing that is written is ignored."""
    found = kind or _kind_of(row_format, columns)
    mistakes = []
    if found not in KINDS[row_format]:
        remedy = f"Its rows hold {' or '.join(KINDS[row_format])}."
        mistakes.append(Mistake(".kind", f"the format {row_format} has no rows of this kind (got {found!r})", remedy))
    read = {*_own_columns(row_format, found), "subset"}
    own = Columns()
    changed = [part for part in Columns.model_fields if getattr(columns, part) != getattr(own, part)]
    mistakes += [_misfit(f".columns.{part}", f"{found} in the format {row_format}", sorted(read)) for part in changed if part not in read]
    if row_format not in OWN_TAGS:
        mistakes += [_misfit(f".tags.{part}", f"the format {row_format}", []) for part, word in tags.model_dump().items() if word is not None]
    return mistakes


def _misfit(key_path: str, what: str, read: list[str]) -> Mistake:
    remedy = f"Read are: {', '.join(read)}." if read else "Remove it, or name another `format`."
    return Mistake(key_path, f"is not read of {what}", remedy)


def _kind_of(row_format: Format, columns: Columns) -> Kind:
    if row_format == "text":
        return "text"
    if columns.chosen or columns.rejected:
        return "preferences"
    return "labels" if columns.kto_tag else "conversations"


def _own_columns(row_format: Format, kind: Kind) -> dict[str, str | None]:
    """The columns that rows of a kind have, under the format's names."""
    own = {part: column for part, column in OWN_COLUMNS[row_format].items() if not (kind in UNANSWERED and part in ("output", "completion"))}
    if kind == "preferences":
        own |= {"chosen": "chosen", "rejected": "rejected"}
    if kind == "labels":
        own["kto_tag"] = "label" if row_format == "openai" else "kto_tag"
    return own


def _name(written: str | bool | None, own: str | None) -> str | None:
    """The author's name, none where it is `false`, the format's own where there is none."""
    if written is False:
        return None
    return written if isinstance(written, str) else own
