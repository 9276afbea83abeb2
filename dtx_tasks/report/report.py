"""Writes report.html and report.md into the experiment's folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from dtx_tasks.report.contents import gather
from dtx_tasks.report.curves import colour_of, draw
from dtx_tasks.report.figures import FILTERS
from dtx_tasks.storage import write_bytes

if TYPE_CHECKING:
    from dtx_tasks.records import ExperimentPlan, Layout


def write_report(plan: ExperimentPlan, layout: Layout) -> str:
    """Writes both reports; what the author wrote is shown, never run as a template.

    Args:
        plan: What was done.
        layout: Where the records are.

    Returns:
        The URI of report.html.
    """
    folder, contents = layout.experiment(plan.name, plan.plan_id), gather(plan, layout)
    templates = _templates()
    for name in ("report.md", "report.html"):
        text = templates.get_template(f"{name}.jinja").render(it=contents, svg=draw(contents.curves))
        write_bytes(f"{folder}/{name}", text.encode())
    return f"{folder}/report.html"


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("dtx_tasks.report", "."),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "cell": _cell, "shown": _shown}
    environment.globals["colour"] = colour_of
    return environment


def _shown(text: str) -> str:
    """A text without the space around it; a model may answer with nothing else."""
    return text.strip() or "(空白 blank)"


def _cell(text: str) -> str:
    """Text that stays inside one cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "<br>").replace("`", "\\`")
