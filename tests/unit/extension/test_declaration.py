"""Plugins are found and read, and never imported."""

import sys

import pytest

from dtx_tasks.errors import SpecError
from dtx_tasks.extension import declaration_of, installed
from tests.plugins import Packages

EXPLODES = "raise RuntimeError('imported')\n"


def told(name: str) -> str:
    with pytest.raises(SpecError) as caught:
        declaration_of(name)
    return str(caught.value)


def test_declaration_is_read_and_nothing_is_imported(packages: Packages) -> None:
    """Neither the module nor the package around it."""
    packages.add("clean", EXPLODES, version="1.2", description="Cleans.")
    (packages.folder / "of_clean/__init__.py").write_text(EXPLODES)
    found = declaration_of("clean")
    assert (found.version, found.description, found.parameters) == ("1.2", "Cleans.", {})
    assert "of_clean" not in sys.modules


def test_declaration_stands_beside_the_module(packages: Packages) -> None:
    """In an inner package too, which Python could not look up without importing the outer one."""
    packages.add("deep", entry="of_deep.inner.more.plugin:run", declared="")
    inner = packages.folder / "of_deep/inner/more"
    inner.mkdir(parents=True)
    (inner / "plugin.py").write_text(EXPLODES)
    (inner / "dtx_plugin.yaml").write_text('deep: {version: "2"}')
    assert declaration_of("deep").version == "2"
    assert "of_deep" not in sys.modules


def test_unknown_plugin_is_answered_with_the_nearest(packages: Packages) -> None:
    """And with where it must be installed."""
    packages.add("clean")
    assert "clean" in installed()
    remedy = "Did you mean 'clean'? Known: clean. Install its package where experiments are planned and where rows are prepared."
    assert told("clen") == f"There is no plugin 'clen' in {sys.prefix}. {remedy}"


def test_plugin_of_two_packages_is_refused(packages: Packages) -> None:
    """Which one would run is nobody's guess."""
    packages.add("clean")
    packages.add("clean", package="other")
    assert told("clean") == "The plugin 'clean' is offered by several packages: of_clean, other. Remove all but one of them."


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("of_bad.plugin:run", "there is no dtx_plugin.yaml in {folder}/of_bad."),
        ("nowhere.plugin:run", "there is no package 'nowhere'. Its entry point is 'nowhere.plugin:run'"),
        ("of_bad.plagin:run", "there is no module 'of_bad.plagin'."),
        ("single:run", "the module 'single' is in no package."),
        ("of_bad.plugin:run now!", "its entry point names no object (got 'of_bad.plugin:run now!'). Write it as package.module:function."),
    ],
)
def test_entry_point_without_a_declaration_is_told(packages: Packages, entry: str, said: str) -> None:
    """With the plugin's name, and where it was looked for."""
    packages.add("bad", entry=entry, declared="")
    (packages.folder / "single.py").touch()
    assert f"The plugin 'bad' is broken: {said.format(folder=packages.folder)}" in told("bad")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("bad: {version: 1.0}", "dtx_plugin.yaml:1: version: must be text (got 1.0)."),
        ("bad: {}", "dtx_plugin.yaml:1: version: is missing. Text in quotes; raised whenever other rows come out."),
        ("bad:\n  version: '1'\n  parameter: {}", "dtx_plugin.yaml:3: parameter: is not a known key (got {}). Did you mean 'parameters'?"),
        ("bad: '1'", "dtx_plugin.yaml declares it as '1'. It must have at least a version"),
        ("good: {version: '1'}", "dtx_plugin.yaml does not declare it. It declares good"),
        ("bad: [", "this is not YAML"),
    ],
)
def test_wrong_declaration_is_told(packages: Packages, declared: str, said: str) -> None:
    """With its file, its line and the plugin's name."""
    packages.add("bad", declared=declared)
    assert told("bad").startswith("The plugin 'bad' is broken: ")
    assert said in told("bad")
