"""The plugins of a Dataset: which versions are here, and what they will be told. Nothing of them is imported or run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtx_tasks.catalog import PARAMETERS
from dtx_tasks.dataset import Findings, RowFile
from dtx_tasks.errors import Mistake, SpecError, nearest
from dtx_tasks.extension import checked_parameters, declaration_of
from dtx_tasks.records import PluginSource
from dtx_tasks.spec import Plugin, Subset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtx_tasks.dataset import Part
    from dtx_tasks.dataset.splits import Portion
    from dtx_tasks.spec import Dataset, PluginParameters, Reading, Split

Counts = tuple[int, int]
"""Rows, and characters of their texts."""


def names_of_parameters(dataset: Dataset) -> tuple[str, ...]:
    """The PluginParameters that a Dataset leaves to the catalog."""
    return tuple(plugin.parameters for plugin in dataset.plugins if isinstance(plugin.parameters, str))


def with_parameters(dataset: Dataset, known: Mapping[str, PluginParameters]) -> Dataset | list[Mistake]:
    """A Dataset whose plugins have their parameters in place of the names of them.

    Args:
        dataset: The definition.
        known: The named parameters.
    """
    mistakes = [
        Mistake(f".plugins[{index}].parameters", *told)
        for index, plugin in enumerate(dataset.plugins)
        if isinstance(plugin.parameters, str) and (told := _misnamed(plugin.name, plugin.parameters, known))
    ]
    if mistakes:
        return mistakes
    return dataset.model_copy(update={"plugins": tuple(_with_parameters(plugin, known) for plugin in dataset.plugins)})


def _misnamed(plugin: str, reference: str, known: Mapping[str, PluginParameters]) -> tuple[str, str] | None:
    found = known.get(reference)
    if found is None:
        return f"there are no PluginParameters of this name (got {reference!r})", nearest(reference, known, PARAMETERS.listing)
    if found.plugin != plugin:
        return f"are those of another plugin, {found.plugin!r} (got {reference!r})", f"Name parameters of {plugin!r}, or write them here."
    return None


def _with_parameters(plugin: Plugin, known: Mapping[str, PluginParameters]) -> Plugin:
    return plugin.model_copy(update={"parameters": known[plugin.parameters].parameters}) if isinstance(plugin.parameters, str) else plugin


def check_parameters(named: PluginParameters) -> list[Mistake]:
    """What is wrong with named parameters, as the plugin that is here declares them.

    Args:
        named: The definition.
    """
    found = _resolved(Plugin(name=named.plugin, parameters=named.parameters))
    if isinstance(found, PluginSource):
        return []
    return [Mistake(".plugin" if mistake.key_path == ".name" else mistake.key_path, mistake.problem, mistake.remedy) for mistake in found]


def resolve_plugins(dataset: Dataset) -> tuple[tuple[PluginSource, ...], list[Mistake]]:
    """The versions and parameters of a Dataset's plugins, and what is wrong with them.

    Args:
        dataset: The definition, after `with_parameters`.
    """
    found: list[PluginSource] = []
    mistakes: list[Mistake] = []
    for index, plugin in enumerate(dataset.plugins):
        source = _resolved(plugin)
        if isinstance(source, PluginSource):
            found.append(source)
        else:
            mistakes += [Mistake(f".plugins[{index}]{mistake.key_path}", mistake.problem, mistake.remedy) for mistake in source]
    return tuple(found), mistakes


def counted(parts: Mapping[Split, Part], reading: Reading) -> tuple[dict[Split, Counts], str]:
    """The rows of each split before its plugins have run, those that will be held out estimated; and the first thing that cannot be read.

    Args:
        parts: Where each split's rows are.
        reading: How they will be read.
    """
    files = {split: RowFile(part.path, part.label, reading) for split, part in parts.items() if part.portion is None}
    found = {split: _counts(file) for split, file in files.items()}
    whole = found["train"]
    for split, part in parts.items():
        if part.portion is not None:
            found[split] = _share(whole, part.portion)
            found["train"] = (found["train"][0] - found[split][0], found["train"][1] - found[split][1])
    findings = Findings()
    findings.merge(file.findings for file in files.values())
    return {split: found[split] for split in parts}, findings.first_error


def _resolved(plugin: Plugin) -> PluginSource | list[Mistake]:
    assert not isinstance(plugin.parameters, str)  # with_parameters() came first
    try:
        declaration = declaration_of(plugin.name)
        parameters = checked_parameters(plugin.name, declaration, plugin.parameters)
    except SpecError as error:
        return [Mistake(".name", error.message.rstrip("."), error.hint)]
    if isinstance(parameters, list):
        return parameters
    return PluginSource(name=plugin.name, version=declaration.version, parameters=parameters)


def _counts(file: RowFile) -> Counts:
    num_rows = num_characters = 0
    for raw in file.raw_rows():
        num_rows += 1
        num_characters += _num_characters(raw.values)
    return num_rows, num_characters


def _num_characters(value: object) -> int:
    """Of all the text in a value, keys aside."""
    if isinstance(value, str):
        return len(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(map(_num_characters, inner))


def _share(whole: Counts, portion: Portion) -> Counts:
    """What will be held out: of a subset nothing is known before the plugins have run."""
    num_rows, num_characters = whole
    if isinstance(portion, Subset) or not num_rows:
        return 0, 0
    held = min(num_rows, portion if isinstance(portion, int) else max(1, round(portion * num_rows)))
    return held, num_characters * held // num_rows
