"""What every part of a spec has in common: strict, immutable, documented by its own docstrings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, pattern=r"^[^\s/\\\x00-\x1f\x7f]([^/\\\x00-\x1f\x7f\u0085\u2028\u2029]*[^\s/\\\x00-\x1f\x7f])?$"),
]
"""A name that a person reads, in any script; no slash, no line break, no space at either end."""

BY_NAME, DEFINED_HERE = "<name>", "<definition>"
WRITTEN, LEFT_OUT, ROW_COUNT, ROW_SHARE, SUBSET = "<written>", "<left out>", "<row count>", "<row share>", "<subset>"
TAGS_OF_UNIONS = frozenset({BY_NAME, DEFINED_HERE, WRITTEN, LEFT_OUT, ROW_COUNT, ROW_SHARE, SUBSET})
"""Parts of a place in pydantic's errors that no author wrote."""


class SpecModel(BaseModel):
    """Unknown keys are mistakes, values are never coerced, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True)


def name_or_definition(value: Any) -> str:
    """Tells a reference to the catalog (text) from a definition in place (a mapping)."""
    return BY_NAME if isinstance(value, str) else DEFINED_HERE
