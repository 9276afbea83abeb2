"""Families of base models as their makers publish them: what many entries of the catalog have in common, written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dtx_tasks.spec.base import SpecModel
from dtx_tasks.spec.llm import LLM, Template

if TYPE_CHECKING:
    from collections.abc import Iterator


class Member(SpecModel):
    """One size of a family; what it leaves out is as its family says."""

    repository: Annotated[str, Field(pattern=r"^[^/@\s]+/[^/@\s]+$", examples=["Qwen/Qwen2.5-7B-Instruct"])]
    """Its name on the Hugging Face hub."""

    billions: Annotated[float, Field(gt=0)]
    """Parameters, all experts of a mixture together."""

    template: Template | None = None
    """How its conversations are written."""

    architecture: str | None = None
    """What its config.json calls `model_type`."""

    licence: str | None = None
    """By its usual name."""

    is_gated: bool | None = None
    """Whether the hub asks for a token of somebody who has accepted the licence."""


class Family(SpecModel):
    """Models that share a template, an architecture and a licence, but for what a member says otherwise."""

    name: str
    """As DataTunerX's table of models calls it."""

    template: Template
    """How conversations are written."""

    architecture: str
    """What config.json calls `model_type`."""

    licence: str
    """By its usual name."""

    is_gated: bool = False
    """Whether the hub asks for a token of somebody who has accepted the licence."""

    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    """From the smallest to the largest, or by kind."""

    def complete(self) -> Iterator[Member]:
        """Every member, with nothing left out."""
        common = {"template": self.template, "architecture": self.architecture, "licence": self.licence, "is_gated": self.is_gated}
        for member in self.members:
            own = {key: value for key in common if (value := getattr(member, key)) is not None}
            yield member.model_copy(update={**common, **own})

    def llms(self) -> Iterator[LLM]:
        """What the catalog offers: each member under the second part of its repository's name."""
        for member in self.complete():
            gated = ", gated" if member.is_gated else ""
            yield LLM(
                name=member.repository.partition("/")[2],
                description=f"{self.name}, {member.billions:g} billion parameters; {member.licence}{gated}.",
                source=f"hf://{member.repository}",
                template=member.template or self.template,
                architecture=member.architecture,
            )
