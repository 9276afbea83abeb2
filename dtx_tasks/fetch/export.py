"""A checkpoint of ours as one ordinary model folder, for whoever serves it elsewhere."""

from __future__ import annotations

import json
import re
import tempfile
from importlib.util import find_spec
from pathlib import Path

from dtx_tasks.errors import SpecError, nearest
from dtx_tasks.records import FetchedLLM, Layout, LLMCheckpoint, RegisteredLLM
from dtx_tasks.spec import PROMPTS
from dtx_tasks.storage import bring, copy_folder, list_names, open_as_its_folder, read_record

ADAPTER, CARD = "adapter_config.json", "README.md"


def export(name: str, folder: Path, layout: Layout) -> None:
    """Writes whole weights as safetensors, with tokenizer, chat template and generation config.

    Args:
        name: A job's id, or a registered model: `NAME` for its latest version, `NAME@3` for another one.
        folder: Where to; it must not hold anything yet.
        layout: The team's storage.

    Raises:
        SpecError: There is no such checkpoint, it cannot be one model, or the folder is taken.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"{folder} is there already.", "Name a folder that is empty or not there yet.")
    job_id = _job_of(name, layout)
    record = read_record(f"{layout.job(job_id)}/result.json", LLMCheckpoint)
    if record is None:
        raise SpecError(f"Job {job_id} has no checkpoint on storage.", "Run its experiment again.")
    if record.finetuning_type in PROMPTS:
        problem = f"{name} is an adapter of learned tokens ({record.finetuning_type}), which no base can take up."
        raise SpecError(problem, f"Serve the adapter in {layout.job(job_id)}/checkpoint on its base.")
    checkpoint = bring(f"{layout.job(job_id)}/checkpoint", record.files)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside it, so that it comes to its place whole; under a name that nobody else has.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
        partial = Path(beside) / folder.name
        if (checkpoint / ADAPTER).exists():
            _merge(checkpoint, layout, partial)
        else:
            copy_folder(checkpoint, str(partial))
        open_as_its_folder(partial)
        partial.rename(folder)


def _job_of(name: str, layout: Layout) -> str:
    """The job behind a name; records say it, so that MLflow need not be asked."""
    if re.fullmatch(r"[0-9a-f]{16}", name) and list_names(layout.job(name)):
        return name
    wanted, _, number = name.partition("@")
    known = list(_registered(layout))
    versions = {int(record.version): record for record in known if record.registered_name == wanted}
    if not versions:
        raise SpecError(f"There is no job and no registered model {name!r}.", nearest(wanted, {record.registered_name for record in known}))
    if number and number not in map(str, versions):
        raise SpecError(f"{wanted!r} has no version {number}.", f"It has {', '.join(map(str, sorted(versions)))}.")
    return versions[int(number) if number else max(versions)].checkpoint_uri.split("/")[-2]


def _registered(layout: Layout) -> list[RegisteredLLM]:
    experiments = f"{layout.base}/experiments"
    plans = [f"{experiments}/{name}/{plan_id}" for name in list_names(experiments) for plan_id in list_names(f"{experiments}/{name}")]
    return [record for plan in plans if (record := read_record(f"{plan}/registered.json", RegisteredLLM))]


def _merge(checkpoint: Path, layout: Layout, folder: Path) -> None:
    if find_spec("peft") is None:
        raise SpecError("An adapter is merged by the training libraries, which are not installed here.", "Run it in the trainer image.")
    from huggingface_hub import ModelCard

    from dtx_tasks.fetch.merge import merge

    written: str = json.loads((checkpoint / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    # The adapter names <root>/<team>/models/<llm id>/files; the store may have been moved since.
    base = layout.llm(written.split("/")[-2])
    fetched = read_record(f"{base}/fetched.json", FetchedLLM)
    if fetched is None:
        raise SpecError(f"The base of this adapter, {base}, is not on storage.", "Run its experiment again: its fetch stage brings it.")
    merge(checkpoint, bring(f"{base}/files", fetched.files), folder)
    card = ModelCard.load(checkpoint / CARD)
    card.data.library_name = "transformers"
    card.text += "\nThe adapter is merged into its base: this is an ordinary model.\n"
    card.save(folder / CARD)
