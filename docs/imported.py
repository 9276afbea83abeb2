"""The page about training files of other programs, from the tables that translate them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.translate import DIALECTS

if TYPE_CHECKING:
    from dtx_tasks.translate import Dialect

HEAD = """\
# Training files of other programs

Generated from the code by `make docs`. `dtx import train.yaml --gpus 4` makes an experiment of a training YAML of LLaMA-Factory or axolotl,
and says of each line what became of it:

- *translated*: it means the same here, under the name that is told;
- *not needed*: nothing is lost without it, and why;
- *not possible*: it cannot be carried over, why, and what is nearest;
- *assumed*: what the file leaves open: the program's own defaults where ours differ,
  the global batch (rows x accumulation x `--gpus` x `--nodes`), the rows to judge on and how.

What could not be carried over and what was assumed also heads the experiment's file, in the order of the lines.
A value that is off there, or the default there, is never *not possible*.
Datasets are defined by the `dataset_info.json` in `dataset_dir`, as `dtx dataset import` does it; without one they are named only.
Several datasets, which those programs mix, are learned by a job each. Values of secrets are not repeated.
`dtx validate experiment.yaml` then says what is missing here.

"""


def page() -> str:
    """docs/import.md."""
    return HEAD + "\n".join(_part(dialect) for dialect in DIALECTS)


def _part(dialect: Dialect) -> str:
    carried = ", ".join(f"`{key}`" for key in sorted(dialect.meanings))
    needless = _table("not needed", dialect.unneeded)
    lacking = _table("not possible", {key: found.why for key, found in dialect.impossible.items()})
    return f"## {dialect.name}\n\nTranslated: {carried}.\n\n{needless}\n{lacking}"


def _table(heading: str, reasons: dict[str, str]) -> str:
    keys: dict[str, list[str]] = {}
    for key, why in reasons.items():
        keys.setdefault(why, []).append(f"`{key}`")
    rows = "".join(f"| {', '.join(found)} | {why} |\n" for why, found in keys.items())
    return f"| {heading} | why |\n| --- | --- |\n{rows}"
