"""One version of a user's own named resource, and what makes it that version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dtx_tasks.catalog.kinds import KINDS, Kind
from dtx_tasks.errors import SpecError
from dtx_tasks.records import Record, ResourceKind, digest_of
from dtx_tasks.spec import SpecDocument, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtx_tasks.spec.base import SpecModel

PIN = re.compile(r"(?P<name>.+)@(?P<number>[1-9][0-9]{0,8})")
"""A name with a version, such as `rows@3`."""


class ConflictError(SpecError):
    """Somebody else has saved another version meanwhile."""


class Version(Record):
    """A version is the content: the definition as it was written, and the digests of the files that it names."""

    kind: ResourceKind
    name: str
    number: int
    """1 for the first one; never given twice, not even after the resource was deleted."""
    digest: str
    content: dict[str, Any]
    """The definition; its paths are absolute."""
    files: dict[str, str]
    """By key of the definition the SHA-256 of a file, or the revision of an LLM, as it was found when this version was saved."""
    created_at: float
    """Seconds since 1970."""
    author: str
    note: str

    @property
    def label(self) -> str:
        """`rows@3`."""
        return f"{self.name}@{self.number}"

    def spec(self) -> SpecModel:
        """The definition.

        Raises:
            SpecError: It was saved by another version of dtx, and this one does not understand it.
        """
        return parse(SpecDocument(f"{self.kind} {self.label} in the catalog", self.content), kind_of(self.kind).model)


def kind_of(name: str) -> Kind:
    """A kind by the name that records use."""
    return next(kind for kind in KINDS if kind.name == name)


def content_of(spec: SpecModel) -> dict[str, Any]:
    """What the author named of a spec: a default that changes later must not be frozen, nor overrule what a group extends."""
    return spec.model_dump(mode="json", exclude_unset=True)


def digest_of_version(kind: Kind, content: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """The identity of a version."""
    return digest_of([kind.name, content, files])
