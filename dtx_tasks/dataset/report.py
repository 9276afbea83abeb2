"""Everything that is known about a Dataset's rows: findings and statistics, split by split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from dtx_tasks.dataset.doubts import doubts
from dtx_tasks.dataset.fields import Problem
from dtx_tasks.dataset.findings import CODES, Findings
from dtx_tasks.dataset.folder import said_line
from dtx_tasks.dataset.repeats import leaked_rows, repeated_rows
from dtx_tasks.dataset.splits import SplitRows
from dtx_tasks.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtx_tasks.dataset.near import Signature
    from dtx_tasks.dataset.rewrite import Rewrite
    from dtx_tasks.dataset.row import Row
    from dtx_tasks.dataset.splits import Part, Scan
    from dtx_tasks.spec import Reading, Split

RARE_LABEL_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Measured:
    """What a tokenizer makes of a row.

    Attributes:
        num_tokens: Up to the length limit.
        num_trained_tokens: Those that are learned.
        is_truncated: The row is longer than the limit.
    """

    num_tokens: int
    num_trained_tokens: int
    is_truncated: bool


@dataclass
class Statistics:
    """Figures of one file.

    Attributes:
        num_characters: Of all good rows.
        num_tokens: The same in tokens; 0 where no tokenizer is known.
        num_trained_tokens: Tokens that are learned.
        num_truncated: Rows longer than the length limit.
        lengths: How many rows are at most so long, each row once: powers of two, in tokens where a tokenizer is known, else in characters.
        labels: How often each label stands.
    """

    num_rows: int = 0
    num_characters: int = 0
    num_tokens: int = 0
    num_trained_tokens: int = 0
    num_truncated: int = 0
    first_truncated_line: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, measured: Measured | None) -> None:
        """Counts a row."""
        length = sum(map(len, row.texts))
        self.num_rows += 1
        self.num_characters += length
        if row.label is not None:
            self.labels["true" if row.label else "false"] += 1
        if measured:
            length = measured.num_tokens
            self.num_tokens += length
            self.num_trained_tokens += measured.num_trained_tokens
            self.num_truncated += measured.is_truncated
            if measured.is_truncated and not self.first_truncated_line:
                self.first_truncated_line = row.line
        self.lengths[1 << max(0, length - 1).bit_length()] += 1

    @property
    def trained_share(self) -> float | None:
        """Tokens that are learned among all; None where no tokenizer is known."""
        return self.num_trained_tokens / self.num_tokens if self.num_tokens else None


@dataclass
class SplitReport:
    """One split.

    Attributes:
        label: Its file.
        num_rows: Good rows of the split.
        statistics: Of its file, which may be shared by several splits.
    """

    label: str
    num_rows: int
    statistics: Statistics


@dataclass
class DatasetReport:
    """A Dataset as `dtx dataset check` shows it."""

    name: str
    format: str
    kind: str
    splits: dict[Split, SplitReport]
    findings: Findings
    ignored_columns: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "format": self.format,
            "kind": self.kind,
            "splits": {split: _split_as_dict(found) for split, found in self.splits.items()},
            "findings": [self._code_as_dict(code) for code in self.findings.shown],
            "ignored_columns": list(self.ignored_columns),
        }

    def _code_as_dict(self, code: str) -> dict[str, Any]:
        severity, meaning = CODES[code]
        first = [finding.as_dict() for finding in self.findings.shown[code]]
        return {"code": code, "severity": severity, "meaning": meaning, "count": self.findings.counts[code], "first": first}

    def as_html(self) -> str:
        """For a browser; what stands in the rows is shown, never run."""
        environment = Environment(
            loader=PackageLoader("dtx_tasks.dataset", "."),
            autoescape=select_autoescape(["html.jinja"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        return environment.get_template("report.html.jinja").render(it=self.as_dict())


def check_dataset(
    name: str,
    parts: Mapping[Split, Part],
    reading: Reading,
    seed: int,
    measure: Callable[[Row], Measured] | None = None,
    rewrite: Rewrite | None = None,
    max_samples: int | None = None,
) -> DatasetReport:
    """Reads every row of a Dataset and says all that is known about them.

    Args:
        name: What it is called.
        parts: Where each split's rows are.
        reading: How they are read.
        seed: Which rows a share or a number takes.
        measure: What a tokenizer makes of a row; raises DataError for a row that nothing can be learned from.
        rewrite: What changes rows before they are read by their format.
        max_samples: Only the first so many rows of train are learned from: of the others nothing but mistakes is said.
    """
    # Airflow's parser imports this module, and should not wait for numpy.
    from dtx_tasks.dataset.near import Signatures

    rows, statistics = SplitRows(parts, reading, seed, rewrite), dict[str, Statistics]()
    findings, labels = Findings(), {split: part.label for split, part in parts.items()}
    signatures = {split: Signatures() for split, part in parts.items() if part.portion is None}
    # Which rows of a file are held out is not known before all of them were read.
    most = max_samples if len(signatures) == len(parts) else None

    def look(split: Split, row: Row) -> None:
        if split == "train" and most is not None and signatures[split].num_rows >= most:
            return
        for doubt in doubts(row):
            findings.add(doubt.at(labels[split], row.line))
        try:
            measured = measure(row) if measure else None
        except DataError as error:
            findings.add(Problem("row", "unlearnable", error.message.rstrip("."), error.hint).at(labels[split], row.line))
            measured = None
        signatures[split].add(row.texts, row.images)
        statistics.setdefault(labels[split], Statistics()).add(row, measured)

    scans = rows.scan(look)
    scans = {split: scan.first(max_samples) if split == "train" else scan for split, scan in scans.items()}
    for scan in {scan.label: scan for scan in scans.values()}.values():
        _add_totals(findings, scan.label, statistics.get(scan.label, Statistics()))
    _add_repeats(findings, scans)
    file_of: dict[Split, Split] = {split: "train" if part.portion is not None else split for split, part in parts.items()}
    seen = {split: signatures[file_of[split]].array()[rows.numbers(split)[: len(scan.ids)]] for split, scan in scans.items()}
    _add_near(findings, scans, seen)
    merged = Findings()
    merged.merge([*rows.findings.values(), findings])
    splits = {split: SplitReport(scan.label, len(scan.ids), statistics.get(scan.label, Statistics())) for split, scan in scans.items()}
    return DatasetReport(name, reading.format, reading.kind, splits, merged, rows.ignored_columns)


def _add_repeats(findings: Findings, scans: Mapping[Split, Scan]) -> None:
    for scan in scans.values():
        for line, first in repeated_rows(scan):
            said = f"is the same as that of {said_line(scan.label, first)}"
            findings.add(Problem("row", "duplicate", said, "It counts twice when it is learned: remove one.").at(scan.label, line))
    if "train" in scans:
        for leak in leaked_rows({"": scans}):
            said = f"is learned from too, in {leak.train_place}"
            findings.add(Problem("row", "leakage", said, "Its score says nothing: remove it from the train split.").at(leak.file, leak.line))


def _add_near(findings: Findings, scans: Mapping[Split, Scan], signatures: Mapping[Split, Signature]) -> None:
    from dtx_tasks.dataset.near import near_pairs, nearly_leaked

    for split, scan in scans.items():
        for row, other, similarity in near_pairs(signatures[split], signatures[split]):
            if scan.ids[row] != scan.ids[other]:
                said = f"is almost the same as that of {said_line(scan.label, scan.lines[other])} (similarity about {similarity:.2f})"
                findings.add(Problem("row", "near_duplicate", said, "Remove one, unless they differ in what matters.").at(scan.label, scan.lines[row]))
    for leak in nearly_leaked({"": scans}, {"": signatures}) if "train" in scans else ():
        said = f"is almost the same as one that is learned from, {leak.train_place} (similarity about {leak.similarity:.2f})"
        findings.add(Problem("row", "near_leakage", said, "Remove one, unless they differ in what matters.").at(leak.file, leak.line))


def _add_totals(findings: Findings, label: str, found: Statistics) -> None:
    if found.num_truncated:
        share = found.num_truncated / found.num_rows
        said = f"{found.num_truncated} of {found.num_rows} rows ({share:.1%}) are longer than the length limit, this one first"
        findings.add(Problem("row", "truncated", said, "Raise cutoff_len, or shorten them.").at(label, found.first_truncated_line))
    rarest = min(found.labels.get("true", 0), found.labels.get("false", 0))
    if found.labels and rarest < RARE_LABEL_SHARE * found.num_rows:
        said = f"{found.labels['true']} rows are labelled true and {found.labels['false']} false"
        findings.add(Problem("label", "label_imbalance", said, "Add rows of the rare one, or weigh it more.").at(label, 1))


def _split_as_dict(found: SplitReport) -> dict[str, Any]:
    statistics = found.statistics
    figures = {"file": found.label, "num_rows": found.num_rows, "num_rows_of_file": statistics.num_rows, "num_characters": statistics.num_characters}
    if statistics.num_tokens:
        figures |= {"num_tokens": statistics.num_tokens, "num_trained_tokens": statistics.num_trained_tokens, "num_truncated": statistics.num_truncated}
    return {
        **figures,
        "trained_share": statistics.trained_share,
        "unit_of_lengths": "tokens" if statistics.num_tokens else "characters",
        "lengths": {str(bound): statistics.lengths[bound] for bound in sorted(statistics.lengths)},
        "labels": dict(statistics.labels),
    }
