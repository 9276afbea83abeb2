"""The bundled resources of a kind and the user's own, under their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, cast

from dtx_tasks.catalog.version import PIN, Version
from dtx_tasks.errors import SpecError
from dtx_tasks.spec.base import SpecModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtx_tasks.catalog.kinds import Kind
    from dtx_tasks.catalog.store import OwnResources

Resource = TypeVar("Resource", bound=SpecModel)


class MergedNames(Mapping[str, Resource]):
    """Looks a name up, or a name with a version such as `rows@3`; iterates over names alone.

    Args:
        kind: Of the resources.
        bundled: By name.
        latest: The latest versions of the user's own.
        own: Where earlier versions are.
    """

    def __init__(self, kind: Kind, bundled: Mapping[str, Resource], latest: Iterable[Version], own: OwnResources) -> None:
        self._kind = kind
        self._bundled = bundled
        self._own = own
        self._latest = {version.name: version for version in latest if version.kind == kind.name}
        self._pinned: dict[str, Version | None] = {}
        self._specs: dict[str, Resource] = {}

    def __getitem__(self, reference: str) -> Resource:
        version = self.version(reference)
        if version is None:
            return self._bundled[reference]
        if reference not in self._specs:
            # Under the name that the experiment uses: it may use several versions side by side.
            self._specs[reference] = cast("Resource", version.spec().model_copy(update={"name": reference}))
        return self._specs[reference]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._bundled, **self._latest})

    def __len__(self) -> int:
        return len({**self._bundled, **self._latest})

    def holds(self, spec: SpecModel) -> bool:
        """Whether a definition came from here; one in place may have the same name."""
        name = str(spec.name)  # type: ignore[attr-defined]
        return self._specs.get(name) is spec or self._bundled.get(name) is spec

    def version(self, reference: str) -> Version | None:
        """The version of the user's own that is meant; None for a bundled one and for an unknown name.

        Raises:
            SpecError: The name is both bundled and the user's own: which is meant nobody can say.
        """
        if reference in self._latest and reference in self._bundled:
            hint = f"Name a version of your own, such as {self._latest[reference].label}, or save it under another name and delete this one."
            raise SpecError(f"{self._kind.name} {reference!r} is both in config/ and your own.", hint)
        return self._latest.get(reference) or (None if reference in self._bundled else self._find(reference))

    def _find(self, reference: str) -> Version | None:
        pin = PIN.fullmatch(reference)
        if pin and reference not in self._pinned:
            self._pinned[reference] = self._own.find(self._kind, pin["name"], int(pin["number"]))
        return self._pinned.get(reference)
