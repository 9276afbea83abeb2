"""The documents that a plan writes: what a stage is told, and all it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from dtx_tasks.records.base import Record, digest_of
from dtx_tasks.spec import Columns, Format, Hyperparameters, Kind, Reading, Resources, Scoring, Selection, Split, Subset, Tags, reading_of

ResourceKind = Literal["Dataset", "LLM", "HyperparameterGroup", "Scoring", "PluginParameters"]


class ResourceVersion(Record):
    """Which version of a named resource was used."""

    kind: ResourceKind
    name: str
    """In the catalog, without a version."""
    version: int | None
    """Of the user's own; None for a bundled one, of which the digest is the version."""
    digest: str
    """Content hash of the definition and of the files that it names."""

    @property
    def label(self) -> str:
        """`rows@3`, or `shop-zh@1f0c2d3e` for a bundled one."""
        return f"{self.name}@{self.version or self.digest[:8]}"


class LLMSource(Record):
    """A base LLM, resolved."""

    name: str
    llm_id: str
    """Content hash of the source and its revision."""
    kind: Literal["local", "adapter", "continued", "made", "hub"]
    """`adapter` is merged into its base when it is fetched, `continued` lies beside it and is trained further."""
    source: str
    """The folder, the address on the hub with its commit, or the recipe of a made model."""
    base: str | None = None
    """The folder with the base of an adapter."""
    adapter: dict[str, Any] | None = None
    """The hyperparameters of an adapter that is trained further; None where there is none."""
    revision: str
    """Digest of the folder's files, the commit on the hub, or the recipe's version."""
    template: str
    architecture: str = ""
    """What its config.json calls `model_type`; empty where nobody has looked."""
    is_reward: bool = False
    """Whether it rates answers, in place of writing them."""
    num_bytes: int
    """Size of the folder; 0 for a model that is not made yet."""

    def adapter_in(self, files: Path) -> Path | None:
        """The adapter that is trained further, in a folder that was fetched; None where there is none."""
        return files / "adapter" if self.kind == "continued" else None


class FileEntry(Record):
    """One file of a folder that a record vouches for."""

    path: str
    """Relative to the folder, with forward slashes."""
    sha256: str
    num_bytes: int


class ImageSource(Record):
    """An image that rows name: a line of an ImageList."""

    written: str
    """The path, as the rows have it."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """What it is called on storage, so that it must not lead elsewhere."""
    num_bytes: int


class ImageList(Record):
    """The images that the rows of a file name, each once; in a file of their own, since there may be more of them than a plan should hold."""

    path: str
    """A file of JSON lines, each an ImageSource, in the order of the rows."""
    sha256: str
    """Of that file: it changes with every image."""
    folder: str
    """Where the images are."""
    num_images: int
    is_by_digest: bool = False
    """In the folder each is called by its SHA-256, and not by the path that rows have."""

    def uri_of(self, image: ImageSource) -> str:
        """Where one of them is."""
        name = image.sha256 if self.is_by_digest else image.written
        # What rows name from the root of a machine's files is there.
        return name if name.startswith("/") else f"{self.folder}/{name}"


class FileSource(Record):
    """One split of a Dataset: a file or a folder of files, or the part of the train file that is held out for it."""

    path: str
    """Where `resolve` found it."""
    label: str
    """What messages call it: the path as its author wrote it; of the hub with the commit that was brought."""
    sha256: str
    """Of its content; of a folder that of the names and digests of its files."""
    num_bytes: int
    num_rows: int
    """Readable rows; 0 when the file cannot be read as rows."""
    num_characters: int
    """Characters of the readable rows' texts."""
    portion: float | int | Subset | None = None
    """What is taken out of the file; None for all that nothing else takes."""
    files: tuple[FileEntry, ...] = ()
    """Those of a folder, in the order in which they are read."""
    images: ImageList | None = None
    """Those that its rows name; None where they name none."""

    @property
    def content(self) -> str:
        """The digest of its rows and of the images that they name."""
        return digest_of([self.sha256, self.images.sha256], 64) if self.images else self.sha256


class PluginSource(Record):
    """A plugin of a Dataset, resolved."""

    name: str
    version: str
    """As its package declares it: what is prepared with another one is prepared anew."""
    parameters: dict[str, Any]
    """All of them, the plugin's defaults filled in."""

    @property
    def label(self) -> str:
        """What a person reads: `drop-short 1.0`."""
        return f"{self.name} {self.version}"


class DatasetSource(Record):
    """A Dataset, resolved."""

    name: str
    format: Format
    kind: Kind
    columns: Columns
    tags: Tags
    max_samples: int | None
    split_seed: int
    files: dict[Split, FileSource]
    problem: str
    """What is wrong with its rows, empty when nothing is; with plugins, what is wrong with its files."""
    plugins: tuple[PluginSource, ...] = ()
    """What rewrites its rows, in this order; with any, rows and characters of its files are counted before that."""

    @property
    def digest(self) -> str:
        """What its rows are: changes with a row, an image or the path that a row names it by, a column mapping or the number of samples.

        It does not change with the name of the Dataset, nor with where its files are.
        """
        return digest_of([self.train_digest, self.scored_digest])

    @property
    def train_digest(self) -> str:
        """The same of the rows to learn from."""
        return digest_of([*self._rows, self.max_samples, self.files["train"].content])

    @property
    def validation_digest(self) -> str:
        """The same of the rows whose loss is measured on the way."""
        return digest_of([*self._rows, self.files["validation"].content if "validation" in self.files else ""])

    @property
    def scored_digest(self) -> str:
        """The same of the rows to score on."""
        return digest_of([*self._rows, {split: file.content for split, file in self.files.items() if split != "train"}])

    @property
    def has_images(self) -> bool:
        """Whether any of its rows names an image."""
        return any(file.images for file in self.files.values())

    @property
    def reading(self) -> Reading:
        """How its rows are read."""
        return reading_of(self.format, self.kind, self.columns, self.tags)

    @property
    def _rows(self) -> list[object]:
        """How rows are read and taken apart."""
        portions = {split: file.model_dump()["portion"] for split, file in self.files.items() if file.portion is not None}
        plugins = [plugin.model_dump() for plugin in self.plugins]
        return [self.reading.identity, *([portions, self.split_seed] if portions else []), *([{"plugins": plugins}] if plugins else [])]


class StageDocument(Record):
    """What every document of a stage says."""

    team: str
    experiment_name: str
    plan_id: str
    name: str
    """What a person reads in the grid: a slug and an id."""


class EncodeOptions(Record):
    """How a conversation becomes token ids and labels."""

    cutoff_len: int
    """The most tokens of a row."""
    mask_history: bool = False
    """Only the last answer is learned, and of a conversation that is too long the last turns are kept first."""
    train_on_prompt: bool = False
    """Questions are learned too."""


class PrepareDocument(StageDocument):
    """Prepare one Dataset for one tokenizer and template."""

    prepared_id: str
    llm: LLMSource
    dataset: DatasetSource
    options: EncodeOptions
    allow_leakage: str | None = None
    """The experiment's reason why rows that are scored on may be learned from too."""
    scored_cutoff_len: int | None = None
    """The scoring's length limit, at which images must be whole; None where it cuts nothing off."""


class ScoringDocument(Record):
    """How, and on which rows, everything of a plan is scored."""

    scoring_id: str
    """Content hash of the Scoring and of the Datasets whose rows are scored."""
    scoring: Scoring
    datasets: dict[str, tuple[str, ...]]
    """For each Dataset the prepared ids that hold its rows; any one of them will do."""


class Difference(Record):
    """What a group changes of the one that it extends."""

    extends: str
    """The name of that one."""
    before: dict[str, Any]
    """The hyperparameters whose values differ, with the values there."""


class FinetuneJob(Record):
    """One LLM x one Dataset x one set of hyperparameters x one seed, resolved."""

    job_id: str
    name: str
    """`llm / dataset / hyperparameters`, and the seed where it tells jobs apart."""
    llm: LLMSource
    reward: LLMSource | None = None
    """The reward model that it learns by."""
    dataset_name: str
    group_name: str
    prepared_id: str
    hyperparameters: Hyperparameters
    difference: Difference | None = None
    """To the group that its own one extends; None where that extends nothing."""
    seed: int
    num_steps: int
    """Optimiser steps."""
    num_tokens: int
    """Estimated tokens trained on, padding not counted."""

    @property
    def changes(self) -> str:
        """`higher is lora-quick with learning_rate: 0.01 (there 0.005)`; empty where its group extends nothing."""
        if self.difference is None:
            return ""
        values = self.hyperparameters.model_dump(mode="json")
        changed = ", ".join(f"{name}: {_shown(values[name])} ({_there(before)})" for name, before in self.difference.before.items())
        return f"{self.group_name} is {self.difference.extends}{f' with {changed}' if changed else ', unchanged'}"


def _shown(value: object) -> object:
    return "not set" if value is None else value


def _there(before: object) -> str:
    return "not set there" if before is None else f"there {before}"


class Pack(StageDocument):
    """The jobs that share one process."""

    pack_id: str
    jobs: tuple[FinetuneJob, ...]
    resources: Resources
    parallelism: int
    scoring: ScoringDocument


class BaseDocument(StageDocument):
    """One base LLM: fetched, and scored as it is; or a reward model, which is only fetched."""

    llm: LLMSource
    is_reward: bool = False
    prepared_ids: tuple[str, ...]
    """PreparedDatasets of this LLM: any one of them holds its tokenizer with the template."""
    parallelism: int
    resources: Resources
    scoring: ScoringDocument


class ExperimentPlan(Record):
    """Everything that will be done, and under which identities."""

    plan_id: str
    team: str
    name: str
    description: str
    datasets: tuple[DatasetSource, ...]
    prepared: tuple[PrepareDocument, ...]
    packs: tuple[Pack, ...]
    bases: tuple[BaseDocument, ...]
    rewards: tuple[BaseDocument, ...] = ()
    """Reward models: fetched like bases, and not judged."""
    merged: dict[str, str]
    """Names of jobs that equal an earlier one, and the name of that one."""
    leakage: str
    """How many rows are scored on and learned from too, and why the author allows it; empty where there are none."""
    notes: tuple[str, ...] = ()
    """What the author should know and need not change, a sentence without its full stop each."""
    scoring: ScoringDocument
    selection: Selection
    resources: Resources
    parallelism: int
    registered_name: str
    versions: tuple[ResourceVersion, ...] = ()
    """Every resource of the catalog that it uses, in the version that it uses."""

    @property
    def fetched(self) -> tuple[BaseDocument, ...]:
        """Every model that is brought to storage, in the order in which Airflow maps over them."""
        return (*self.bases, *self.rewards)

    @property
    def changes(self) -> tuple[str, ...]:
        """What groups change of those that they extend, each once."""
        return tuple(dict.fromkeys(job.changes for job in self.jobs if job.changes))

    @property
    def jobs(self) -> tuple[FinetuneJob, ...]:
        """Every job, in the order of the packs."""
        return tuple(job for pack in self.packs for job in pack.jobs)
