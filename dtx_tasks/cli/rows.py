"""What is printed of rows: a report, and single rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dtx_tasks.dataset import CODES, said_line
from dtx_tasks.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtx_tasks.dataset import DatasetReport, Message, Row
    from dtx_tasks.prepare.measure import SeenRow

COLOURS = {"error": "red", "warning": "yellow"}
LEARNED = "black on green"
MARKS = "⟦", "⟧"
"""Around what is learned, where there are no colours."""

ROLE_COLOURS = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}


def report_table(report: DatasetReport) -> RenderableType:
    """A report as a person reads it."""
    title = f"{report.name}: {report.format}, {report.kind}"
    table = Table(title=Text(title), title_justify="left")
    for heading in ("split", "file", "rows", "characters of the file", "tokens", "learned", "cut off"):
        table.add_column(heading, justify="left" if heading in ("split", "file") else "right")
    for split, found in report.splits.items():
        figures = found.statistics
        share = "-" if figures.trained_share is None else f"{figures.trained_share:.1%}"
        counted = [f"{figures.num_tokens:,}", share, str(figures.num_truncated)] if figures.num_tokens else ["-"] * 3
        table.add_row(split, Text(found.label), f"{found.num_rows:,}", f"{figures.num_characters:,}", *counted)
    lines = [*_lengths(report), *_findings(report)]
    if report.ignored_columns:
        lines.append(Text(f"Columns that are not read: {', '.join(report.ignored_columns)}."))
    return Group(table, *lines)


def _lengths(report: DatasetReport) -> Iterator[RenderableType]:
    for label, figures in {found.label: found.statistics for found in report.splits.values() if found.statistics.lengths}.items():
        unit = "tokens" if figures.num_tokens else "characters"
        counts = ", ".join(f"{bound:,}: {figures.lengths[bound]:,}" for bound in sorted(figures.lengths))
        yield Text(f"Rows of {label} of at most so many {unit}: {counts}.")


def _findings(report: DatasetReport) -> Iterator[RenderableType]:
    if not report.findings.counts:
        yield Text("Nothing was found.", style="green")
    for code, kept in sorted(report.findings.shown.items(), key=lambda item: CODES[item[0]][0]):
        severity, meaning = CODES[code]
        yield Text(f"{severity} {code} ({report.findings.counts[code]:,}): {meaning}", style=COLOURS[severity])
        yield from (Text(f"  {finding}") for finding in kept)
        more = report.findings.counts[code] - len(kept)
        if more:
            yield Text(f"  and {more:,} more")


def shown_row(row: Row, label: str) -> RenderableType:
    """One row as the conversation that it stands for."""
    parts = [_turn(message) for message in row.messages]
    parts += [_turn(message, name) for name, message in (("chosen", row.chosen), ("rejected", row.rejected)) if message]
    if row.text is not None:
        parts.append(Text(row.text))
    if row.label is not None:
        parts.append(Text(f"label: {'good' if row.label else 'bad'}", style="bold"))
    names = [tool["function"]["name"] for tool in row.tools or ()]
    parts += [Text(f"tools: {', '.join(names)}", style="bold")] if names else []
    parts += [Text(f"{part}: {', '.join(paths)}", style="bold") for part, paths in row.files.items()]
    return Panel(Group(*parts), title=said_line(label, row.line), title_align="left")


def legend(*, has_colours: bool) -> Text:
    """How what is learned looks."""
    return Text.assemble(_piece("This is learned", True, has_colours=has_colours), ", the rest is not.")


def seen_row(place: str, seen: SeenRow | DataError, cutoff_len: int, *, has_colours: bool) -> RenderableType:
    """One row as the model sees it.

    Args:
        place: Which row: its line.
        seen: What the tokenizer makes of it, or why nothing of it can be learned.
        cutoff_len: Where it is cut off.
        has_colours: Whether the screen shows colours.
    """
    if isinstance(seen, DataError):
        return Text(f"{place}: {seen}\n", style=COLOURS["warning"])
    measured = seen.measured
    cut = f", cut off at {cutoff_len}" if measured.is_truncated else ""
    share = measured.num_trained_tokens / measured.num_tokens
    title = f"{place}: {measured.num_tokens} tokens, {measured.num_trained_tokens} of them learned ({share:.1%}){cut}\n"
    return Text.assemble((title, "bold"), *(_piece(text, is_learned, has_colours=has_colours) for text, is_learned in seen.pieces), "\n")


def _piece(text: str, is_learned: bool, *, has_colours: bool) -> Text:
    if has_colours:
        return Text(text, style=LEARNED if is_learned else "")
    return Text(text.join(MARKS) if is_learned else text)


def _turn(message: Message, name: str = "") -> Text:
    role = message["role"]
    calls = [call["function"] for call in message.get("tool_calls", ())]
    said = [message["content"], *(f"calls {call['name']}({json.dumps(call['arguments'], ensure_ascii=False)})" for call in calls)]
    return Text.assemble((f"{name or role}: ", f"bold {ROLE_COLOURS[role]}"), "\n".join(part for part in said if part))
