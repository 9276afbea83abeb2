"""What every record has in common, and the content hashes that identities are made of."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable document; unknown keys are a mistake of whoever wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any, length: int = 16) -> str:
    """The SHA-256 of a value's canonical JSON.

    Args:
        value: Anything that JSON can hold, or a Record.
        length: Hex digits to keep; 16 (64 bits) tell a team's millions of jobs apart.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()[:length]
