"""The files behind an LLM: a model, an adapter on one, or a recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dtx_tasks.catalog.recipes import MADE_MODELS
from dtx_tasks.errors import Mistake, nearest
from dtx_tasks.records import LLMSource, digest_of
from dtx_tasks.storage import digest_of_files, is_remote, manifest, manifest_of, read_bytes

if TYPE_CHECKING:
    from dtx_tasks.records import FileEntry
    from dtx_tasks.resolve.files import Allowed
    from dtx_tasks.spec import LLM

MADE = "made:"
ADAPTER = "adapter_config.json"
OF_TOKENS = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")
"""PEFT's names of methods whose adapters are tokens: there is nothing to merge."""


class _Found(NamedTuple):
    """A folder of model files that may be read."""

    source: str
    files: tuple[FileEntry, ...]

    def has(self, name: str) -> bool:
        return name in {entry.path for entry in self.files}

    @property
    def num_bytes(self) -> int:
        return sum(entry.num_bytes for entry in self.files)


def resolve_llm(llm: LLM, allowed: Allowed) -> LLMSource | Mistake:
    """The revision of an LLM: the digest of its files, or its recipe's version."""
    if llm.source.startswith(MADE):
        return _made(llm, llm.source.removeprefix(MADE))
    if ("://" in llm.source and not is_remote(llm.source)) or llm.source.startswith("hf:"):
        remedy = "Download it first, `hf download NAME --local-dir models/NAME`, and give that folder."
        return Mistake(".source", f"models are not fetched from the network yet (got {llm.source!r})", remedy)
    found = _find(llm.source, allowed)
    if isinstance(found, Mistake):
        return found
    if found.has(ADAPTER):
        return _merged(llm, found, allowed)
    if not found.has("config.json"):
        return Mistake(".source", f"is not a model in Hugging Face layout (got {llm.source!r})", f"There is no config.json in {found.source}.")
    return _llm_source(llm, "local", found.source, digest_of_files(found.files), found.num_bytes)


def _made(llm: LLM, recipe: str) -> LLMSource | Mistake:
    if recipe not in MADE_MODELS:
        return Mistake(".source", f"there is no recipe of this name (got {recipe!r})", nearest(recipe, MADE_MODELS))
    return _llm_source(llm, "made", recipe, f"{recipe}@{MADE_MODELS[recipe]}", 0)


def _find(source: str, allowed: Allowed) -> _Found | Mistake:
    if is_remote(source):
        uri = source.rstrip("/")
        refused = allowed.refused(uri)
        return _told(refused) if refused else _Found(uri, manifest_of(uri))
    folder = allowed.find(source)
    if isinstance(folder, Mistake):
        return _told(folder)
    strayed = allowed.strayed(folder)
    return _told(strayed) if strayed else _Found(str(folder), manifest(folder))


def _told(mistake: Mistake) -> Mistake:
    return Mistake(".source", mistake.problem, mistake.remedy)


def _merged(llm: LLM, adapter: _Found, allowed: Allowed) -> LLMSource | Mistake:
    """An adapter, such as a checkpoint of ours: it is merged into its base when it is fetched."""
    config: dict[str, Any] = json.loads(read_bytes(f"{adapter.source}/{ADAPTER}"))
    if config.get("peft_type") in OF_TOKENS:
        return Mistake(".source", f"is an adapter of learned tokens, which no base can take up (got {llm.source!r})", "Start from its base.")
    written = str(config.get("base_model_name_or_path") or "")
    base = _find(written, allowed) if written else Mistake(".source", "is an adapter that does not name its base", f"Name it in {ADAPTER}.")
    if isinstance(base, Mistake):
        return Mistake(".source", f"is an adapter, and its base {base.problem}", f"{ADAPTER} names it. {base.remedy}")
    if not base.has("config.json"):
        return Mistake(
            ".source", f"is an adapter, and its base is not a model in Hugging Face layout (got {written!r})", f"There is no config.json in {base.source}."
        )
    revision = digest_of(["adapter", digest_of_files(adapter.files), digest_of_files(base.files)], 64)
    found = _llm_source(llm, "adapter", adapter.source, revision, adapter.num_bytes + base.num_bytes)
    return found.model_copy(update={"base": base.source})


def _llm_source(llm: LLM, kind: Literal["local", "adapter", "made"], source: str, revision: str, num_bytes: int) -> LLMSource:
    return LLMSource(
        name=llm.name,
        llm_id=digest_of(["llm", kind, revision, llm.template]),
        kind=kind,
        source=source,
        revision=revision,
        template=llm.template,
        num_bytes=num_bytes,
    )
