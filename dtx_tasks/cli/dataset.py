"""`dtx dataset`: rows checked, shown, uploaded and brought along from LLaMA-Factory, without running anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from dtx_tasks.catalog import DATASETS, open_catalog
from dtx_tasks.cli.rows import legend, report_table, seen_row, shown_row
from dtx_tasks.cli.team import Team
from dtx_tasks.dataset import Part, RowFile, SplitRows, check_dataset, detect, imported, said_line
from dtx_tasks.entrypoints.uploads import check_rows, store
from dtx_tasks.errors import DataError, Mistake, SpecError, nearest
from dtx_tasks.extension import rewriter
from dtx_tasks.plan import encode_options
from dtx_tasks.records import Layout
from dtx_tasks.resolve import (
    Allowed,
    OwnFiles,
    dataset_parts,
    definition_mistakes,
    merged_values,
    names_of_parameters,
    resolve_plugins,
    told_apart,
    with_parameters,
)
from dtx_tasks.settings import root
from dtx_tasks.spec import Dataset, Format, HyperparameterGroup, Kind, Split, load_text, parse, reading_of
from dtx_tasks.spec.llm import Template
from dtx_tasks.spec.load import SpecDocument
from dtx_tasks.storage import gathered_from
from dtx_tasks.template import TOKENIZERS_OWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from dtx_tasks.dataset import DatasetReport, Measured, Rewrite, Row
    from dtx_tasks.prepare.measure import SeenRow
    from dtx_tasks.records import EncodeOptions
    from dtx_tasks.spec import Reading

WRONG_ROWS = 2

Where = Annotated[str, typer.Argument(help="Rows in a file, a folder or at an address, the YAML of a Dataset, or the name of one.", show_default=False)]
AsFormat = Annotated[Format | None, typer.Option("--format", help="How a row is laid out; by default what its first rows look like.")]
OfKind = Annotated[Kind | None, typer.Option("--kind", help="What a row holds; by default what its first rows look like.")]
ColumnNames = Annotated[list[str] | None, typer.Option("--column", help="PART=COLUMN, such as instruction=question; several times if need be.")]
TokenizerFolder = Annotated[Path | None, typer.Option("--tokenizer", help="A folder with a tokenizer: rows as the model sees them. Needs transformers.")]
TemplateName = Annotated[Template | None, typer.Option("--template", help="What writes conversations; the tokenizer's own by default.")]
CutoffLen = Annotated[int | None, typer.Option("--cutoff-len", min=8, help="The length limit in tokens; 1024 by default.")]
MaskHistory = Annotated[bool, typer.Option("--mask-history", help="Of a conversation only the last answer is learned.")]
TrainOnPrompt = Annotated[bool, typer.Option("--train-on-prompt", help="Questions are learned too.")]
TagWords = Annotated[list[str] | None, typer.Option("--tag", help="PART=WORD, such as user=customer; several times if need be.")]


def add_to(group: typer.Typer) -> None:
    """Adds these commands to `dtx dataset`, in front of those that every kind of resource has."""
    for word, command in (("check", check), ("preview", preview), ("upload", upload), ("import", import_registry)):
        group.command(word, rich_help_panel="Rows")(command)


def check(
    where: Where,
    row_format: AsFormat = None,
    kind: OfKind = None,
    column: ColumnNames = None,
    tag: TagWords = None,
    tokenizer: TokenizerFolder = None,
    template: TemplateName = None,
    cutoff_len: CutoffLen = None,
    mask_history: MaskHistory = False,
    train_on_prompt: TrainOnPrompt = False,
    team: Team = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page.")] = None,
) -> None:
    """Say what is wrong with which row; ends with 2 where one cannot be used."""
    found = _found(where, row_format, kind, column, tag, team)
    view = _view(tokenizer, template, cutoff_len, mask_history=mask_history, train_on_prompt=train_on_prompt)
    measure = view.measure(found.reading.kind) if view else None
    dataset = found.dataset
    report = check_dataset(dataset.name, found.parts, found.reading, dataset.split_seed, measure, found.rewrite, dataset.max_samples)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
    else:
        _print(report)
    if html:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(report.as_html(), encoding="utf-8")
    if report.findings.num_errors:
        raise typer.Exit(WRONG_ROWS)


def preview(
    where: Where,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many rows.")] = 3,
    split: Annotated[Split, typer.Option(help="Of which split.")] = "train",
    row_format: AsFormat = None,
    kind: OfKind = None,
    column: ColumnNames = None,
    tag: TagWords = None,
    tokenizer: TokenizerFolder = None,
    template: TemplateName = None,
    cutoff_len: CutoffLen = None,
    mask_history: MaskHistory = False,
    train_on_prompt: TrainOnPrompt = False,
    team: Team = "default",
) -> None:
    """Show the first rows as the conversations that they stand for; with a tokenizer as the text that a model sees, and what it learns of it."""
    found = _found(where, row_format, kind, column, tag, team)
    if split not in found.parts:
        raise SpecError(f"{found.dataset.name} has no {split} split.", f"It has {', '.join(found.parts)}.")
    view = _view(tokenizer, template, cutoff_len, mask_history=mask_history, train_on_prompt=train_on_prompt)
    rows, label = list(islice(_rows(found, split), number)), found.parts[split].label
    if not rows:
        raise SpecError(f"{where} has no row that can be shown.", "`dtx dataset check` says why.")
    if view:
        _show_seen(rows, label, view.see(found.reading.kind), view.options.cutoff_len)
    else:
        Console().print(*(shown_row(row, label) for row in rows), sep="\n")


def upload(
    where: Annotated[str, typer.Argument(help="A file of rows or a folder of such files, here or at an address.", show_default=False)],
    team: Team = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")] = False,
) -> None:
    """Put rows on the platform's storage, check them, and print what a Dataset is to name."""
    path = _rows_at(where).path
    report, uri = check_rows(path), store(path, Layout(root(), team))
    if as_json:
        typer.echo(json.dumps({"uri": uri, "report": report.as_dict()}, indent=1, ensure_ascii=False))
    else:
        _print(report)
        typer.echo(f"In a Dataset: `train: {uri}`")
    if report.findings.num_errors:
        raise typer.Exit(WRONG_ROWS)


def import_registry(
    file: Annotated[Path, typer.Argument(help="LLaMA-Factory's dataset_info.json.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder for the Datasets.")] = Path("datasets"),
) -> None:
    """Make Datasets of LLaMA-Factory's dataset_info.json, and say what differs here."""
    document = load_text(_text(file), str(file))
    out.mkdir(parents=True, exist_ok=True)
    num_made = 0
    for name, entry in document.data.items():
        try:
            path, notes = _import_one(name, entry, file.parent, out)
        except (SpecError, OSError) as error:
            # One bad entry is no reason to leave the others out.
            typer.echo(f"{name}: left out: {error}")
        else:
            num_made += 1
            typer.echo("\n  ".join([f"{name}: {path}", *notes]))
    typer.echo(f"Made {num_made} of {len(document.data)} Datasets in {out}. Next: dtx dataset check {out}/NAME.yaml")


def _import_one(name: str, entry: Any, folder: Path, out: Path) -> tuple[Path, tuple[str, ...]]:
    """Writes the definition of one entry, and returns where it is and what is to be said of it."""
    made = imported(name, entry, folder, out)
    if made.dataset is None:
        raise SpecError(f"it {made.notes[0]}")
    try:
        parse(SpecDocument(name, made.dataset), Dataset)
    except SpecError as error:
        raise SpecError("; ".join(f"{mistake.key_path}: {mistake.problem}. {mistake.remedy}".rstrip() for mistake in error.mistakes)) from None
    path = out / f"{name}.yaml"
    if path.exists():
        raise SpecError(f"{path} exists already.")
    path.write_text(_yaml(made.dataset, made.notes), encoding="utf-8")
    return path, made.notes


def _print(report: DatasetReport) -> None:
    console = Console()
    # A script looks for `file:line: ...` in one line.
    console.print(report_table(report), soft_wrap=not console.is_terminal)


def _yaml(dataset: dict[str, Any], notes: tuple[str, ...]) -> str:
    comments = "".join(f"# {note}\n" for note in notes)
    return comments + yaml.safe_dump(dataset, sort_keys=False, allow_unicode=True, width=160)


@dataclass(frozen=True)
class _Found:
    """A Dataset, where its rows are, and how they are made and read."""

    dataset: Dataset
    parts: dict[Split, Part]
    reading: Reading
    rewrite: Rewrite | None


def _found(where: str, row_format: Format | None, kind: Kind | None, column: list[str] | None, tag: list[str] | None, team: str) -> _Found:
    """What is meant: rows themselves, a definition in a file, or a name of the catalog."""
    columns, tags = _pairs(column, "--column"), _pairs(tag, "--tag")
    if _is_of_rows(where):
        part = _rows_at(where)
        dataset = _of_rows(part.path, where, row_format, kind, columns, tags)
        return _complete(where, dataset, {"train": part}, [])
    if row_format or kind or columns or tags:
        raise SpecError(f"{where} says itself how it is read.", "Leave --format, --kind, --column and --tag out, or name a file of rows.")
    dataset, folder = _defined(where, team)
    told = with_parameters(dataset, open_catalog(team).parameters) if names_of_parameters(dataset) else dataset
    if isinstance(told, list):
        raise _wrong(where, told)
    return _complete(where, told, *dataset_parts(told, Allowed(folder, None)))


def _complete(where: str, dataset: Dataset, parts: dict[Split, Part], mistakes: list[Mistake]) -> _Found:
    """The rows with what reads and rewrites them, or every mistake of their definition."""
    plugins, mistakes_of_plugins = resolve_plugins(dataset)
    mistakes = [*definition_mistakes(dataset), *mistakes, *mistakes_of_plugins]
    if mistakes:
        raise _wrong(where, mistakes)
    parts = {split: told_apart(part) for split, part in parts.items()}
    return _Found(dataset, parts, reading_of(dataset.format, dataset.kind, dataset.columns, dataset.tags), rewriter(plugins))


def _wrong(where: str, mistakes: list[Mistake]) -> SpecError:
    return SpecError("\n".join(mistake.text(where) for mistake in mistakes))


def _is_of_rows(where: str) -> bool:
    path = Path(where)
    return "://" in where or "*" in path.name or path.is_dir() or (path.is_file() and path.suffix not in (".yaml", ".yml"))


def _rows_at(where: str) -> Part:
    """A file or a folder of rows; what lies elsewhere is brought here."""
    found = Allowed(Path(), None).find_rows(where)
    if isinstance(found, Mistake):
        raise SpecError(f"{where}: {found.problem}.", found.remedy)
    return Part(*found, beside=gathered_from(found[0]))


def _of_rows(path: Path, where: str, row_format: Format | None, kind: Kind | None, columns: dict[str, str], tags: dict[str, str]) -> Dataset:
    found_format, found_kind, found_columns = detect(path)
    is_guessed = row_format in (None, found_format)
    named = found_columns.model_dump(exclude_unset=True) if is_guessed and kind in (None, found_kind) else {}
    data = {
        "name": path.name,
        "train": where,
        "format": row_format or found_format,
        "kind": kind or (found_kind if is_guessed else None),
        "columns": named | columns,
        "tags": tags,
    }
    return parse(SpecDocument(where, data), Dataset)


def _defined(where: str, team: str) -> tuple[Dataset, Path]:
    """A definition, and the folder that its paths count from."""
    path = Path(where)
    if path.is_file():
        return parse(load_text(_text(path), where), Dataset), path.parent
    catalog = open_catalog(team)
    if where not in catalog.datasets:
        raise SpecError(f"There is no file and no Dataset {where!r}.", nearest(where, catalog.datasets, DATASETS.listing))
    version = catalog.own(DATASETS, where)
    if version is None:
        return catalog.datasets[where], catalog.folders["Dataset", where]
    return _placed(where, catalog.datasets[where], OwnFiles(version, where != version.name, Allowed(Path(), None), Layout(root(), team))), Path()


def _placed(where: str, dataset: Dataset, files: OwnFiles) -> Dataset:
    """A Dataset of one's own with the files of the version that is asked for."""
    if not files.is_pinned:
        return dataset
    found = files.dataset(dataset)
    if isinstance(found, list):
        raise _wrong(where, found)
    # What messages call a file is how it was written where this version was found.
    return dataset.model_copy(update={split: str(file.label) for split, file in found.source.files.items() if file.portion is None})


def _pairs(written: list[str] | None, option: str) -> dict[str, str]:
    for pair in written or ():
        if "=" not in pair:
            raise SpecError(f"{option} {pair!r} is no pair.", f"Write it as {option} PART=NAME.")
    return dict(pair.split("=", 1) for pair in written or ())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: is not UTF-8 text (byte {error.start}).", "Save it as UTF-8.") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}.") from None


def _rows(found: _Found, split: Split) -> Any:
    """The rows of a split; a whole file is read no further than it is shown."""
    if any(part.portion is not None for part in found.parts.values()):
        rows = SplitRows(found.parts, found.reading, found.dataset.split_seed, found.rewrite)
        rows.scan()
        return rows.rows(split)
    part = found.parts[split]
    return RowFile(part.path, part.label, found.reading, found.rewrite, beside=part.beside)


def _show_seen(rows: list[Row], label: str, see: Callable[[Row], SeenRow], cutoff_len: int) -> None:
    console = Console()
    has_colours = console.is_terminal and not console.no_color
    console.print(legend(has_colours=has_colours))
    for row in rows:
        try:
            seen: SeenRow | DataError = see(row)
        except DataError as error:
            seen = error
        # A line of the text stays a line, however long it is.
        console.print(seen_row(said_line(label, row.line), seen, cutoff_len, has_colours=has_colours), soft_wrap=True)


@dataclass(frozen=True)
class _View:
    """How a model sees rows; transformers is imported only where it is asked for."""

    tokenizer: Path
    template: Template
    options: EncodeOptions

    def measure(self, kind: Kind) -> Callable[[Row], Measured]:
        """What counts the tokens of rows of a kind."""
        _refuse_unseen(kind)
        from dtx_tasks.prepare.measure import measure_with

        return measure_with(self.tokenizer, self.template, self.options)

    def see(self, kind: Kind) -> Callable[[Row], SeenRow]:
        """What shows rows of a kind."""
        _refuse_unseen(kind)
        from dtx_tasks.prepare.measure import see_with

        return see_with(self.tokenizer, self.template, self.options)


def _refuse_unseen(kind: Kind) -> None:
    if kind != "conversations":
        raise SpecError(f"Rows of {kind} cannot be trained on yet, so that no template writes them.", "Leave --tokenizer out.")
    if find_spec("transformers") is None:
        raise SpecError("A tokenizer needs transformers, which is not installed here.", "Install dtx-tasks[train], or leave --tokenizer out.")


def _view(tokenizer: Path | None, template: Template | None, cutoff_len: int | None, **switches: bool) -> _View | None:
    """What the options ask for, refused as a hyperparameter group with these values would be."""
    given = {name: value for name, value in {"cutoff_len": cutoff_len, **switches}.items() if value}
    if tokenizer is None:
        named = [f"--{name.replace('_', '-')}" for name in (*(["template"] if template else []), *given)]
        if named:
            raise SpecError(f"{named[0]} means nothing without --tokenizer.", "Name a folder with a tokenizer, or leave it out.")
        return None
    values = merged_values(HyperparameterGroup.model_validate({"name": "options", **given}), {})
    if isinstance(values, Mistake):
        raise SpecError(values.text("the options"))
    return _View(tokenizer, template or TOKENIZERS_OWN, encode_options(values))
