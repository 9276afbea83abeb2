"""The files of the user's own resources: where they are named, else as they were handed over in this version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.errors import Mistake
from dtx_tasks.records import DatasetSource, LLMSource
from dtx_tasks.resolve.files import ResolvedDataset, resolve_dataset
from dtx_tasks.resolve.llm import MADE, resolve_llm
from dtx_tasks.spec import SPLITS
from dtx_tasks.storage import at_commit, is_hub_model, is_remote, list_names

if TYPE_CHECKING:
    from dtx_tasks.catalog import Version
    from dtx_tasks.records import Layout
    from dtx_tasks.resolve.files import Allowed
    from dtx_tasks.spec import LLM, Dataset

Source = TypeVar("Source", DatasetSource, LLMSource)


def files_of(source: DatasetSource | LLMSource) -> dict[str, str]:
    """What a version remembers of files: by key of the definition the SHA-256, or the revision of an LLM."""
    if isinstance(source, LLMSource):
        return {"source": source.revision}
    return {split: file.content for split, file in source.files.items() if file.portion is None}


@dataclass(frozen=True)
class OwnFiles:
    """Finds the files of one version.

    Attributes:
        version: Which one.
        is_pinned: The experiment asks for this very version, so that changed files are not it.
        allowed: Where its paths may lead: as far as those of whoever asks.
        layout: Where files of the team were handed over.
    """

    version: Version
    is_pinned: bool
    allowed: Allowed
    layout: Layout

    def dataset(self, dataset: Dataset) -> ResolvedDataset | list[Mistake]:
        """As `resolve_dataset`."""
        found = resolve_dataset(dataset, self.allowed)
        if isinstance(found, ResolvedDataset) and self._is_meant(found.source):
            return found
        handed: dict[str, str] = {split: self._handed_over(split, written) for split in SPLITS if (written := dataset.path_of(split))}
        if all(handed.values()):
            again = resolve_dataset(dataset.model_copy(update=handed), self.allowed)
            if isinstance(again, ResolvedDataset) and files_of(again.source) == self.version.files:
                return again
        return self._changed(found.source) if isinstance(found, ResolvedDataset) else found

    def llm(self, llm: LLM) -> LLMSource | Mistake:
        """As `resolve_llm`."""
        found = resolve_llm(llm, self.allowed)
        if isinstance(found, LLMSource) and self._is_meant(found):
            return found
        handed = self._handed_over("source", llm.source)
        again = resolve_llm(llm.model_copy(update={"source": handed}), self.allowed) if handed else found
        if isinstance(again, LLMSource) and files_of(again) == self.version.files:
            return again
        return self._changed(found)[0] if isinstance(found, LLMSource) else found

    def _is_meant(self, source: DatasetSource | LLMSource) -> bool:
        return not self.is_pinned or files_of(source) == self.version.files

    def _handed_over(self, key: str, written: str) -> str:
        """Where the file of this version was handed over, or where it is if that is S3 or a hub; empty if it never was."""
        if is_hub_model(written):
            return at_commit(written, self.version.files.get(key, ""))
        if is_remote(written) or written.startswith(MADE):
            return written
        folder = self.layout.upload(self.version.files.get(key, "none")[:16], "").rstrip("/")
        # Whatever its name is there: the folder is that of its content.
        return next((f"{folder}/{name}" for name in list_names(folder)), "")

    def _changed(self, source: DatasetSource | LLMSource) -> list[Mistake]:
        now = files_of(source)
        remedy = f"Use {self.version.name!r}, which is what is there now, or put the files of that version back."
        keys = [key for key in now if now[key] != self.version.files.get(key)]
        return [Mistake(f".{key}", f"has changed since version {self.version.number}, and that one was never handed over", remedy) for key in keys]
