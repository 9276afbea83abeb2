"""The files behind a Dataset: where they are, what they are, and whether they may be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dtx_tasks.dataset import CODES, Part, SplitRows, doubts, folder_mistake, is_of_images, labelled, repeated_rows, without_documentation
from dtx_tasks.errors import Mistake
from dtx_tasks.records import DatasetSource, FileSource, ImageList
from dtx_tasks.resolve.images import images_of, told_apart_by, uri_of
from dtx_tasks.resolve.plugins import counted, resolve_plugins
from dtx_tasks.spec import SPLITS, Subset, misfits, reading_of
from dtx_tasks.storage import (
    DownloadError,
    bring,
    bring_file,
    bring_hub,
    bring_page,
    chosen,
    digest_of_files,
    gather,
    gathered_from,
    images_handed_over,
    is_hub,
    is_remote,
    is_web,
    list_images,
    list_names,
    look_up,
    manifest,
    manifest_of,
    parted,
    sha256_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtx_tasks.dataset import Row, Scan
    from dtx_tasks.dataset.near import Signature
    from dtx_tasks.records import PluginSource
    from dtx_tasks.resolve.images import Named
    from dtx_tasks.resolve.plugins import Counts
    from dtx_tasks.spec import Dataset, Kind, Reading, Split

Found = TypeVar("Found")

MOST_ROWS, MOST_CHARACTERS = 100_000, 50_000_000
"""Of a Dataset whose rows are compared when an experiment is planned: some 5 s of one core, and 50 MB (measured)."""

TOO_LARGE = f"more than {MOST_ROWS:,} rows or {MOST_CHARACTERS:,} characters"


@dataclass(frozen=True)
class Allowed:
    """What relative paths count from (None: they mean nothing), and the folders they may lead into (None: any)."""

    folder: Path | None
    roots: tuple[Path | str, ...] | None

    def find(self, written: str) -> Path | Mistake:
        """A file or folder of this machine that was meant, or one from elsewhere brought here, if it may be read and is there."""
        return self._tried(self._brought if "://" in written else self._found, written)

    def _tried(self, look: Callable[[str], Found | Mistake], written: str) -> Found | Mistake:
        """What a way to look for something finds, or why it finds nothing."""
        try:
            return look(written)
        except FileNotFoundError:
            return Mistake("", f"is not there (got {written!r})", "Look at the bucket and at the key.")
        except DownloadError as error:
            return Mistake("", f"cannot be downloaded: {error} (got {written!r})", "Look at the address, or download it yourself and name the file.")
        except (OSError, RuntimeError, ValueError) as error:
            # A home of nobody, a circle of links, a name too long or with a NUL in it.
            return Mistake("", f"cannot be looked for: {error} (got {written!r})", "Name a file that can be read.")

    def find_rows(self, written: str) -> tuple[Path, str] | Mistake:
        """The file of a split, or the folder whose files are read as one, and what messages are to call it."""
        if is_hub(written):
            return self._tried(self._brought_from_hub, written)
        found = self.find(written)
        if isinstance(found, Mistake):
            return found
        if not found.is_dir():
            return found, labelled(found, written)
        rows = found if "://" in written else self._without_images(found)
        return self._unusable(rows, written) or (rows, labelled(rows, written))

    def _without_images(self, folder: Path) -> Path:
        """A folder of rows without the images that lie in it too."""
        names = list_names(str(folder))
        rows = [name for name in names if not (self.holds(folder / name) and is_of_images(folder / name))]
        return gather(folder, rows) if rows and rows != names else folder

    def _unusable(self, folder: Path, written: str) -> Mistake | None:
        """Why the files of a folder cannot be read as one, or may not be; None where they can."""
        mistake = folder_mistake(list_names(str(folder)), written)
        # What was brought from elsewhere has no links.
        return mistake or (None if "://" in written else self.strayed(folder))

    def holds(self, path: Path) -> bool:
        """Whether a path, links followed, lies in a folder that may be read."""
        return self.roots is None or any(isinstance(root, Path) and path.resolve().is_relative_to(root) for root in self.roots)

    def strayed(self, folder: Path) -> Mistake | None:
        """Why a folder may not be read as a whole; None where it may."""
        stray = next((item.name for item in sorted(folder.rglob("*")) if not self.holds(item)), None)
        return Mistake("", f"holds a link out of the folders that requests may read (got {stray!r})", "Replace it by the file itself.") if stray else None

    def refused(self, uri: str) -> Mistake | None:
        """Why a URI on S3 may not be read; None where it may. S3 gives `..` no meaning, other servers might."""
        is_held = self.roots is None or any(isinstance(root, str) and uri.startswith(f"{root}/") for root in self.roots)
        if is_held and not {"", ".", ".."} & set(uri.removeprefix("s3://").split("/")):
            return None
        remedy = "Use `dtx submit`, or have the folder added to DTX_DATA_ROOTS."
        return Mistake("", f"lies outside the folders that requests may read (got {uri!r})", remedy)

    def _brought(self, uri: str) -> Path | Mistake:
        """A file of another machine, brought here."""
        if is_remote(uri):
            return self.refused(uri.rstrip("/")) or self._brought_from_s3(uri.rstrip("/"))
        if is_web(uri):
            return self.web_refused(uri, "/") or bring_page(uri, may_redirect=self.roots is None)
        remedy = "Use a local path, s3://BUCKET/KEY, https://HOST/FILE or hf://datasets/OWNER/NAME@REVISION/PATH."
        return Mistake("", f"this source cannot be reached (got {uri!r})", remedy)

    def _brought_from_s3(self, uri: str) -> Path | Mistake:
        folder, pattern = parted(uri)
        names = chosen(list_names(folder), pattern)
        if not names:
            return bring_file(uri)
        # Before anything of a large folder is downloaded.
        return folder_mistake(names, uri) or bring(folder, [entry for entry in manifest_of(folder) if entry.path in names])

    def _brought_from_hub(self, uri: str) -> tuple[Path, str] | Mistake:
        refused = self.web_refused(uri, "/", "@")
        if refused:
            return refused
        found = look_up(uri)
        files = replace(found, names=without_documentation(found.names) or found.names)
        wrong = folder_mistake(files.names, uri) if files.names else None
        if wrong:
            return wrong
        path = bring_hub(files)
        return path, labelled(path, files.uri)

    def web_refused(self, uri: str, *ends: str) -> Mistake | None:
        """Why an address may not be asked; None where it may. A request must not make this machine look at others."""
        is_held = self.roots is None or any(isinstance(root, str) and uri.startswith(tuple(f"{root}{end}" for end in ends)) for root in self.roots)
        if is_held and not (self.roots is not None and (".." in uri or "%" in uri)):
            return None
        remedy = "Use `dtx submit`, or have the beginning of the address added to DTX_DATA_ROOTS."
        return Mistake("", f"lies outside the folders that requests may read (got {uri!r})", remedy)

    def _found(self, written: str) -> Path | Mistake:
        path = Path(written).expanduser()
        if not path.is_absolute() and self.folder is None:
            return Mistake("", f"a relative path means nothing here (got {written!r})", "Use `dtx submit`, which hands over local files.")
        found = ((self.folder or Path()) / path).resolve()
        if not self.holds(found):
            return Mistake(
                "", f"lies outside the folders that requests may read (got {written!r})", "Use `dtx submit`, or have the folder added to DTX_DATA_ROOTS."
            )
        if found.exists():
            return found
        names = chosen(list_names(str(found.parent)), found.name) if "*" in found.name else []
        return gather(found.parent, names) if names else Mistake("", f"is not there (got {written!r})", f"Looked for {found}.")


@dataclass(frozen=True)
class ResolvedDataset:
    """A Dataset, and what was seen of its rows.

    Attributes:
        source: What the plan takes on.
        scans: Every split's rows by their hashes; of train only those that are learned from. None where plugins will make the rows.
        signatures: The same rows by what tells that they are almost the same. None where there are too many of them, or they are not known.
        doubts: How often each warning was given of its rows, by code; `dtx dataset check` says where.
    """

    source: DatasetSource
    scans: dict[Split, Scan] | None
    signatures: dict[Split, Signature] | None = None
    doubts: Mapping[str, int] = field(default_factory=dict)


class _Seen:
    """What is noted of each row while it is read.

    Attributes:
        named: The images of each file, by its split.
    """

    def __init__(self) -> None:
        # Airflow's parser imports this module, and should not wait for numpy.
        from dtx_tasks.dataset.near import Signatures

        self.named: dict[Split, Named] = {}
        self._kinds, self._doubts = set[str](), Counter[str]()
        self._num_rows = self._num_characters = 0
        self._signatures: dict[Split, Signatures] | None = {split: Signatures() for split in SPLITS}

    def look(self, split: Split, row: Row) -> None:
        """Takes the row of a file, by the split that the file is of."""
        self._kinds |= row.files.keys()
        for written in row.files.get("images", ()):
            self.named.setdefault(split, {}).setdefault(written, row.line)
        self._doubts.update(doubt.code for doubt in doubts(row))
        if self._signatures is None:
            return
        texts = row.texts
        self._num_rows += 1
        self._num_characters += sum(map(len, texts))
        if self._num_rows > MOST_ROWS or self._num_characters > MOST_CHARACTERS:
            self._signatures = None
        else:
            self._signatures[split].add(texts, row.images)

    def unlearnable(self, kind: Kind, parts: Mapping[Split, Part], handed: Mapping[Split, ImageList]) -> Mistake | None:
        """Why rows that name files cannot be learned from; None where they can."""
        remedy = "`dtx dataset check` checks such rows; leave the columns out, such as `videos: false`, to learn from their text alone."
        if self._kinds - {"images"}:
            return Mistake(".columns", f"its rows have {' and '.join(sorted(self._kinds - {'images'}))}, which cannot be trained on", remedy)
        if self._kinds and kind != "conversations":
            return Mistake(".kind", f"its rows have images, and rows of the kind {kind} cannot be trained on with images", remedy)
        far = next((path for paths in self.named.values() for path in paths if "://" in path), None)
        if far:
            return Mistake(".columns", f"its rows have images that are elsewhere (got {far!r})", "Download them, and name the files.")
        stranded = next((split for split in self.named if "://" in parts[split].label and split not in handed), None)
        if stranded:
            problem = f"its rows have images, which are looked for on this machine alone, and the rows are elsewhere (got {str(parts[stranded].label)!r})"
            return Mistake(f".{stranded}", problem, "Download the rows and their images, and name the file.")
        return None

    def doubts(self, scans: dict[Split, Scan], rows: SplitRows) -> Counter[str]:
        """Every warning by its code: of rows, of files, and of rows that stand twice."""
        repeated = sum(1 for scan in scans.values() for _ in repeated_rows(scan))
        found = self._doubts + Counter({"duplicate": repeated})
        for findings in rows.findings.values():
            found.update({code: count for code, count in findings.counts.items() if CODES[code][0] == "warning"})
        return +found

    def signatures(self, parts: dict[Split, Part], rows: SplitRows) -> dict[Split, Signature] | None:
        """Of each split, in the order of its rows."""
        if self._signatures is None:
            return None
        return {split: self._signatures[_file_of(split, part)].array()[rows.numbers(split)] for split, part in parts.items()}


def _file_of(split: Split, part: Part) -> Split:
    """The split whose file a split is in."""
    return "train" if part.portion is not None else split


def resolve_dataset(dataset: Dataset, allowed: Allowed) -> ResolvedDataset | list[Mistake]:
    """The digests and row counts of a Dataset's files.

    Returns:
        The Dataset, or what is wrong with its definition or its paths. Bad rows are no mistake here:
        `prepare` refuses this one Dataset and leaves the others alone.
    """
    reading = reading_of(dataset.format, dataset.kind, dataset.columns, dataset.tags)
    plugins, mistakes_of_plugins = resolve_plugins(dataset)
    parts, mistakes = dataset_parts(dataset, allowed)
    mistakes = [*definition_mistakes(dataset), *mistakes, *mistakes_of_plugins]
    if mistakes:
        return mistakes
    if plugins:
        counts, problem = counted(parts, reading)
        return ResolvedDataset(_source(dataset, parts, counts, problem, plugins), None)
    handed = {split: there for split, part in parts.items() if part.portion is None and (there := images_handed_over(uri_of(part)))}
    # Rows of another machine must not name files of this one.
    parts = {split: replace(part, may_look=None) if "://" in part.label or _file_of(split, part) in handed else part for split, part in parts.items()}
    rows, seen, scans = _looked_through(dataset, parts, reading)
    wrong = seen.unlearnable(reading.kind, parts, handed)
    images = images_of(parts, seen.named, handed) if wrong is None else [wrong]
    if isinstance(images, list):
        return images
    if images:
        # Once more, now that it is known which images are the same.
        parts = {split: told_apart_by(images.get(_file_of(split, part), ()), part) for split, part in parts.items()}
        rows, seen, scans = _looked_through(dataset, parts, reading)
    lists = {split: handed[split] if split in handed else list_images(found, parts[split].folder) for split, found in images.items()}
    problem = next((findings.first_error for findings in rows.findings.values() if findings.num_errors), "")
    source = _source(dataset, parts, {split: (len(scan.ids), sum(scan.lengths)) for split, scan in scans.items()}, problem, images=lists)
    signatures = seen.signatures(parts, rows)
    if signatures:
        signatures["train"] = signatures["train"][: dataset.max_samples]
    return ResolvedDataset(source, {**scans, "train": scans["train"].first(dataset.max_samples)}, signatures, seen.doubts(scans, rows))


def _looked_through(dataset: Dataset, parts: dict[Split, Part], reading: Reading) -> tuple[SplitRows, _Seen, dict[Split, Scan]]:
    """One pass over all rows."""
    # Which rows of a file are held out is not known before all of them were read.
    rows, seen = SplitRows(parts, reading, dataset.split_seed), _Seen()
    scans = rows.scan(seen.look)
    return rows, seen, scans


def _source(
    dataset: Dataset,
    parts: dict[Split, Part],
    counts: dict[Split, Counts],
    problem: str,
    plugins: tuple[PluginSource, ...] = (),
    images: Mapping[Split, ImageList] | None = None,
) -> DatasetSource:
    return DatasetSource(
        name=dataset.name,
        format=dataset.format,
        kind=reading_of(dataset.format, dataset.kind, dataset.columns, dataset.tags).kind,
        columns=dataset.columns,
        tags=dataset.tags,
        max_samples=dataset.max_samples,
        split_seed=dataset.split_seed,
        files={split: _file_source(part, counts[split], (images or {}).get(_file_of(split, part))) for split, part in parts.items()},
        problem=problem,
        plugins=plugins,
    )


def dataset_parts(dataset: Dataset, allowed: Allowed) -> tuple[dict[Split, Part], list[Mistake]]:
    """Where each split's rows are, and what is wrong with their paths.

    Args:
        dataset: The definition.
        allowed: What its paths count from, and where they may lead.
    """
    parts: dict[Split, Part] = {}
    mistakes: list[Mistake] = []
    for split in SPLITS:
        written = dataset.path_of(split)
        if written is None:
            continue
        found = allowed.find_rows(written)
        if isinstance(found, Mistake):
            mistakes.append(Mistake(f".{split}", found.problem, found.remedy))
        else:
            parts[split] = Part(*found, may_look=allowed.holds, beside=gathered_from(found[0]))
    if "train" in parts:
        parts |= {split: replace(parts["train"], portion=portion) for split, portion in dataset.portions.items()}
    return {split: parts[split] for split in SPLITS if split in parts}, mistakes


def definition_mistakes(dataset: Dataset) -> list[Mistake]:
    """What is written in a definition and means nothing there."""
    return [*misfits(dataset.format, dataset.kind, dataset.columns, dataset.tags), *_wrong_subsets(dataset)]


def _wrong_subsets(dataset: Dataset) -> list[Mistake]:
    """A subset needs the column that tells it, and the column a subset."""
    subsets = [split for split, portion in dataset.portions.items() if isinstance(portion, Subset)]
    if subsets and dataset.columns.subset is None:
        return [Mistake(f".{subsets[0]}", "is a subset, and no column says which rows are in it", "Name that column: `columns: {subset: ...}`.")]
    if dataset.columns.subset and not subsets:
        return [Mistake(".columns.subset", "has no effect: neither validation nor test is a subset", "Write `validation: {subset: ...}`, or remove it.")]
    return []


def _file_source(part: Part, counts: Counts, images: ImageList | None) -> FileSource:
    files = manifest(part.path) if part.path.is_dir() else ()
    uri = uri_of(part)
    return FileSource(
        path=parted(uri)[0] if files and is_remote(uri) else uri,
        label=part.label,
        sha256=digest_of_files(files) if files else sha256_of(part.path),
        num_bytes=sum(entry.num_bytes for entry in files) if files else part.path.stat().st_size,
        files=files,
        num_rows=counts[0],
        num_characters=counts[1],
        portion=part.portion,
        images=images,
    )
