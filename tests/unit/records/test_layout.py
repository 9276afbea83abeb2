"""Where everything is, and names that paths can hold."""

import re

import pytest

from dtx_tasks.records import Layout, slug

PLAN = "0123456789abcdef"


@pytest.mark.parametrize("name", ["shop-intents", "a", "lora-8"])
def test_plain_name_is_its_own_slug(name: str) -> None:
    """Nothing is added where nothing is lost."""
    assert slug(name) == name


@pytest.mark.parametrize("name", ["Shop", "shop intents", "识别", "é", "a_b", "-a", "a--b", "x" * 41, "../..", "{{name}}"])
def test_other_name_is_plain_and_marked(name: str) -> None:
    """Whatever is lost is made up for by a hash; the result is safe in a path."""
    assert re.fullmatch(r"([a-z0-9-]+-)?[0-9a-f]{8}", slug(name))
    assert len(slug(name)) <= 40


@pytest.mark.parametrize(("one", "other"), [("Shop", "shop"), ("识别", "顾客"), ("a b", "a-b"), ("a_b", "a b"), ("x" * 41, "x" * 42)])
def test_names_that_differ_have_slugs_that_differ(one: str, other: str) -> None:
    """Two experiments never share a folder."""
    assert slug(one) != slug(other)


@pytest.mark.parametrize("length", [10, 20, 51])
def test_slug_is_as_long_as_asked_for(length: int) -> None:
    """The limit holds whatever the name."""
    assert len(slug("Some Very Long Name " * 9, length)) <= length


@pytest.mark.parametrize("root", ["/data/store", "/data/experiments/store", "file:///data", "store", "/experiments"])
@pytest.mark.parametrize("team", ["default", "experiments", "a-1"])
@pytest.mark.parametrize("name", ["shop", "experiments", "识别"])
def test_layout_is_found_from_a_document(root: str, team: str, name: str) -> None:
    """A document's URI says where everything else is, whatever root, team and experiment are called."""
    layout = Layout(root, team)
    assert Layout.of(f"{layout.experiment(name, PLAN)}/packs/a-01234567.json") == layout
    assert Layout.of(f"{layout.experiment(name, PLAN)}/plan.json") == layout


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "plan.json",
        "/data/plan.json",
        f"/default/experiments/shop/{PLAN}/plan.json",
        f"/d/t/experiments/{PLAN}/plan.json",
        "/d/t/experiments/shop/x/plan.json",
    ],
)
def test_foreign_document_is_refused(uri: str) -> None:
    """What lies elsewhere is no document of a plan."""
    with pytest.raises(ValueError, match=re.escape(f"{uri!r} is no document of a plan: it must lie below <root>/<team>/experiments/<name>/<plan id>/")):
        Layout.of(uri)


def test_folders_of_a_team_lie_below_it() -> None:
    """Nothing of one team is in the folder of another."""
    layout = Layout("/data", "a")
    folders = [layout.llm("1"), layout.prepared("1"), layout.job("1"), layout.score("1", "2"), layout.experiment("x", PLAN), layout.upload("1", "f")]
    assert all(folder.startswith("/data/a/") for folder in [*folders, layout.run_reference("dag", "run")])


def test_run_of_any_name_has_its_own_reference() -> None:
    """Run ids hold colons and plus signs, and still differ."""
    layout = Layout("/data", "a")
    ids = ["manual__2026-01-01T00:00:00+00:00", "manual__2026-01-01T00:00:00-00:00"]
    assert len({layout.run_reference("dag", run_id) for run_id in ids}) == 2
