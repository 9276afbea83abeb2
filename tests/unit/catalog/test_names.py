"""The bundled resources and the user's own, looked up together."""

import re
from pathlib import Path

import pytest

from dtx_tasks.catalog import GROUPS, SCORINGS, has_own_resources, open_catalog, own_resources
from dtx_tasks.errors import SpecError
from tests.builders import FakeData


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, and a place for a database that is not there yet."""
    monkeypatch.setenv("DTX_CONFIG", str(FakeData(tmp_path).config()))
    monkeypatch.setenv("DTX_CATALOG_URL", f"sqlite:///{tmp_path / 'catalog.db'}")
    return tmp_path


def test_looking_makes_no_database(here: Path) -> None:
    """Nor does it need SQLAlchemy where nobody has saved anything."""
    catalog = open_catalog("default")
    assert (set(catalog.groups), catalog.own(GROUPS, "quick")) == ({"quick", "slow"}, None)
    assert not has_own_resources()
    assert not (here / "catalog.db").exists()


def test_bundled_and_own_are_found_by_name() -> None:
    """Each name once; only the user's own have a version."""
    saved = own_resources("default").create(GROUPS, {"name": "mine", "lora_rank": 3}, {}, author="ann")
    catalog = open_catalog("default")
    assert (sorted(catalog.groups), len(catalog.groups), catalog.groups["mine"].lora_rank) == (["mine", "quick", "slow"], 3, 3)
    assert (catalog.own(GROUPS, "mine"), catalog.own(GROUPS, "quick"), catalog.own(GROUPS, "none")) == (saved, None, None)
    assert "none" not in catalog.groups


def test_default_is_not_frozen_in_a_version() -> None:
    """Only what its author named overrules what a group extends."""
    own_resources("default").create(GROUPS, {"name": "mine", "extends": "quick", "lora_rank": 8}, {}, author="ann")
    assert open_catalog("default").groups["mine"].own_values() == {"lora_rank": 8}


def test_version_is_found_by_its_number() -> None:
    """Under the name with the number, since an experiment may use several."""
    own = own_resources("default")
    first = own.create(SCORINGS, {"name": "short", "max_new_tokens": 8}, {}, author="ann")
    own.edit(SCORINGS, {"name": "short", "max_new_tokens": 9}, {}, based_on=1, author="ann")
    names = open_catalog("default").scorings
    assert [(names[ref].name, names[ref].max_new_tokens) for ref in ("short", "short@1", "short@2")] == [("short", 9), ("short@1", 8), ("short@2", 9)]
    assert open_catalog("default").own(SCORINGS, "short@1") == first
    assert [ref in names for ref in ("short@3", "short@0", "short@x", "@1")] == [False] * 4
    assert list(names) == ["short"]


def test_resources_of_another_team_are_not_seen() -> None:
    """Not by name and not by version."""
    own_resources("other").create(SCORINGS, {"name": "short"}, {}, author="ann")
    catalog = open_catalog("default")
    assert ("short" in catalog.scorings, "short@1" in catalog.scorings) == (False, False)


def test_name_that_became_bundled_is_refused(here: Path) -> None:
    """Neither silently hides the other; a version still says which is meant."""
    own_resources("default").create(GROUPS, {"name": "mine", "lora_rank": 3}, {}, author="ann")
    FakeData(here).text("config/hyperparameters/mine.yaml", "name: mine\n")
    catalog = open_catalog("default")
    with pytest.raises(SpecError, match=re.escape("HyperparameterGroup 'mine' is both in config/ and your own. Name a version of your own, such as mine@1")):
        catalog.groups["mine"]
    assert catalog.groups["mine@1"].lora_rank == 3
    assert catalog.groups["quick"].max_steps == 4


def test_version_that_is_not_understood_is_told_when_it_is_used() -> None:
    """It was saved by another version of dtx; everything else can still be used."""
    own_resources("default").create(SCORINGS, {"name": "old", "max_tokens": 8}, {}, author="ann")
    catalog = open_catalog("default")
    assert set(catalog.scorings) == {"old"}
    with pytest.raises(SpecError, match=r"Scoring old@1 in the catalog: max_tokens: is not a known key"):
        catalog.scorings["old"]
