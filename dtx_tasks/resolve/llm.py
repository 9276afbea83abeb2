"""The files behind an LLM: a model of a folder or a hub, an adapter on one, or a recipe."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from dtx_tasks.catalog.recipes import MADE_MODELS
from dtx_tasks.errors import Mistake, nearest
from dtx_tasks.plan.architectures import SEEING, unknown, unloadable
from dtx_tasks.records import LLMSource, digest_of
from dtx_tasks.resolve.adapter import RATES, continued_values
from dtx_tasks.storage import DownloadError, bring_model, digest_of_files, is_hub_model, is_remote, look_up_model, manifest, manifest_of, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtx_tasks.records import FileEntry
    from dtx_tasks.resolve.files import Allowed
    from dtx_tasks.spec import LLM
    from dtx_tasks.storage import HubFile

MADE = "made:"
ADAPTER = "adapter_config.json"
CONFIG = "config.json"
WEIGHTS = re.compile(r".*\.(safetensors|bin)")
OF_TOKENS = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")
"""PEFT's names of methods whose adapters are tokens: there is nothing to merge."""

Kind = Literal["local", "adapter", "continued", "made", "hub"]


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
    """The revision of an LLM: the digest of its files, its commit on the hub, or its recipe's version."""
    # What is known not to work needs no look at the hub.
    refused = unknown(llm.architecture) if llm.architecture else None
    if refused:
        return refused
    found = _resolved(llm, allowed)
    return found if isinstance(found, Mistake) else _denied(llm, found) or found


def _denied(llm: LLM, found: LLMSource) -> Mistake | None:
    """What was written of a model that its files do not bear out."""
    if llm.architecture not in (None, found.architecture):
        return Mistake(".architecture", f"is not that of the model (got {llm.architecture!r})", f"Its {CONFIG} says {found.architecture!r}.")
    key = next((key for key in ("adapter", "base") if key in llm.model_fields_set), None)
    if key and found.base is None:
        return Mistake(f".{key}", f"is of a source that is an adapter, and this is a model (got {getattr(llm, key)!r})", "Leave it out.")
    return None


def _resolved(llm: LLM, allowed: Allowed, *, is_base: bool = False) -> LLMSource | Mistake:
    if llm.source.startswith(MADE) and not is_base:
        return _made(llm, llm.source.removeprefix(MADE))
    if is_hub_model(llm.source):
        return _of_hub(llm, allowed)
    if ("://" in llm.source and not is_remote(llm.source)) or llm.source.startswith("hf:"):
        remedy = "Use hf://OWNER/NAME@REVISION, ms://OWNER/NAME@REVISION of ModelScope, s3://BUCKET/FOLDER or a folder in Hugging Face layout."
        return Mistake(".source", f"this source cannot be reached (got {llm.source!r})", remedy)
    found = _find(llm.source, allowed)
    if isinstance(found, Mistake):
        return found
    return _of_adapter(llm, found, allowed) if found.has(ADAPTER) and not is_base else _of_folder(llm, found)


def _of_folder(llm: LLM, found: _Found) -> LLMSource | Mistake:
    if not found.has(CONFIG):
        return Mistake(".source", f"is not a model in Hugging Face layout (got {llm.source!r})", f"There is no {CONFIG} in {found.source}.")
    config = _incomplete(found.files, llm) or _config_of(read_bytes(f"{found.source}/{CONFIG}"), llm)
    return config if isinstance(config, Mistake) else _llm_source(llm, "local", found.source, digest_of_files(found.files), found.num_bytes, config)


def _of_hub(llm: LLM, allowed: Allowed) -> LLMSource | Mistake:
    refused = allowed.web_refused(llm.source, "/", "@")
    if refused:
        return _told(refused)
    try:
        found = look_up_model(llm.source)
        with tempfile.TemporaryDirectory() as folder:
            bring_model(found, Path(folder), only=CONFIG)
            written = Path(folder) / CONFIG
            content = written.read_bytes() if written.exists() else None
    except DownloadError as error:
        remedy = "Look at the address, or download it yourself and name the folder."
        return Mistake(".source", f"cannot be downloaded: {error} (got {llm.source!r})", remedy)
    if content is None:
        return Mistake(".source", f"is not a model in Hugging Face layout (got {llm.source!r})", f"There is no {CONFIG} in it.")
    config = _incomplete(found.files, llm) or _config_of(content, llm)
    return config if isinstance(config, Mistake) else _llm_source(llm, "hub", found.address, found.revision, found.num_bytes, config)


def _incomplete(files: Iterable[FileEntry | HubFile], llm: LLM) -> Mistake | None:
    """What a model lacks that has a configuration: its weights."""
    if any(WEIGHTS.fullmatch(file.path) for file in files):
        return None
    return Mistake(".source", f"has no weights that are read here (got {llm.source!r})", "They are called model*.safetensors or pytorch_model*.bin.")


def _config_of(content: bytes, llm: LLM) -> dict[str, Any] | Mistake:
    """What a config.json says, if it is that of a model which can be loaded."""
    config = _json_of(content, CONFIG, llm)
    if isinstance(config, Mistake):
        return config
    if not config.get("model_type"):
        return Mistake(
            ".source", f"its {CONFIG} names no model_type (got {llm.source!r})", "Without it nobody knows how the weights are read: bring the model again."
        )
    return unloadable(config) or config


def _json_of(content: bytes, name: str, llm: LLM) -> dict[str, Any] | Mistake:
    try:
        found = json.loads(content)
    except ValueError as error:
        return Mistake(".source", f"its {name} is no JSON: {error} (got {llm.source!r})", "Bring the model again.")
    if not isinstance(found, dict):
        return Mistake(".source", f"its {name} is no mapping (got {llm.source!r})", "Bring the model again.")
    return found


def _rates(config: dict[str, Any]) -> bool:
    """Whether the head of a model is one number for a row, not scores of tokens."""
    return any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or ())


def _made(llm: LLM, recipe: str) -> LLMSource | Mistake:
    if recipe not in MADE_MODELS:
        return Mistake(".source", f"there is no recipe of this name (got {recipe!r})", nearest(recipe, MADE_MODELS))
    return _llm_source(llm, "made", recipe, f"{recipe}@{MADE_MODELS[recipe]}", 0, {"model_type": "llama"})


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


def _of_adapter(llm: LLM, adapter: _Found, allowed: Allowed) -> LLMSource | Mistake:
    """An adapter, such as a checkpoint of ours, and its base."""
    config = _json_of(read_bytes(f"{adapter.source}/{ADAPTER}"), ADAPTER, llm)
    if isinstance(config, Mistake):
        return config
    if config.get("peft_type") in OF_TOKENS:
        return Mistake(".source", f"is an adapter of learned tokens, which no base can take up (got {llm.source!r})", "Start from its base.")
    continued = continued_values(config) if llm.adapter == "continue" else None
    if isinstance(continued, Mistake):
        return continued
    base = _base_of(config, llm, allowed)
    if isinstance(base, Mistake):
        return base
    kind: Kind = "adapter" if continued is None else "continued"
    revision = digest_of([kind, digest_of_files(adapter.files), base.revision], 64)
    source = _llm_source(llm, kind, adapter.source, revision, adapter.num_bytes + base.num_bytes, {"model_type": base.architecture})
    is_reward = config.get("task_type") == RATES or base.is_reward
    return source.model_copy(update={"base": base.source, "adapter": continued, "is_reward": is_reward})


def _base_of(adapter: dict[str, Any], llm: LLM, allowed: Allowed) -> LLMSource | Mistake:
    """The model that an adapter was trained on: what was written of it, else what the adapter names."""
    written = llm.base or _named_base(adapter, allowed)
    if not written:
        return Mistake(".source", "is an adapter that does not name its base", "Name it as `base` of the LLM.")
    found = _resolved(llm.model_copy(update={"source": written}), allowed, is_base=True)
    if not isinstance(found, Mistake):
        return found
    if llm.base:
        return Mistake(".base", found.problem, found.remedy)
    return Mistake(".source", f"is an adapter whose base cannot be used: {found.problem}", f"{found.remedy} `base` of the LLM says where it is.")


def _named_base(adapter: dict[str, Any], allowed: Allowed) -> str:
    """What an adapter names: a folder, else as PEFT reads it a model of the hub; empty for nothing."""
    name, revision = str(adapter.get("base_model_name_or_path") or ""), adapter.get("revision")
    address = f"hf://{name}@{quote(str(revision), safe='')}" if revision else f"hf://{name}"
    is_of_hub = is_hub_model(address) and isinstance(allowed.find(name), Mistake)
    return address if is_of_hub else name


def _llm_source(llm: LLM, kind: Kind, source: str, revision: str, num_bytes: int, config: dict[str, Any]) -> LLMSource:
    return LLMSource(
        name=llm.name,
        # Earlier code merged models that see without their processors, and let PaliGemma see behind what it reads.
        llm_id=digest_of(["llm", kind, revision, llm.template, *(["sight"] if config["model_type"] in SEEING else [])]),
        kind=kind,
        source=source,
        revision=revision,
        template=llm.template,
        architecture=str(config["model_type"]),
        is_reward=_rates(config),
        num_bytes=num_bytes,
    )
