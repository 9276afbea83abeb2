"""The user's own named resources, on SQLite and on PostgreSQL."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from dtx_tasks.catalog import DATASETS, GROUPS, SCORINGS, ConflictError, Version
from dtx_tasks.catalog.store import OwnResources
from dtx_tasks.errors import SpecError, TransientError


def content(name: str = "short", **changes: Any) -> dict[str, Any]:
    return {"name": name, **changes}


def create(own: OwnResources, **changes: Any) -> Version:
    return own.create(SCORINGS, content(**changes), {}, author="ann", note="first")


def edit(own: OwnResources, based_on: int, author: str = "ann", **changes: Any) -> Version:
    return own.edit(SCORINGS, content(**changes), {}, based_on=based_on, author=author)


def test_first_save_is_version_1(own: OwnResources) -> None:
    """With who, when and why."""
    created = create(own, max_new_tokens=8)
    assert (created.label, created.author, created.note, created.content) == ("short@1", "ann", "first", {"name": "short", "max_new_tokens": 8})
    assert own.versions(SCORINGS, "short") == [created]


def test_edit_is_a_new_version_and_the_old_one_stays(own: OwnResources) -> None:
    """Newest first."""
    versions = [create(own), edit(own, 1, max_new_tokens=9)]
    assert own.versions(SCORINGS, "short") == versions[::-1]
    assert own.latest(SCORINGS) == versions[1:]
    assert own.find(SCORINGS, "short", 1) == versions[0]


def test_same_content_again_is_no_new_version(own: OwnResources) -> None:
    """Whatever version its author had before them."""
    create(own)
    edited = edit(own, 1, max_new_tokens=9)
    assert edit(own, 1, max_new_tokens=9) == edited


def test_earlier_content_again_is_a_new_version(own: OwnResources) -> None:
    """The latest version is what counts; its digest says that it was there before."""
    first = create(own)
    edit(own, 1, max_new_tokens=9)
    again = edit(own, 2)
    assert (again.number, again.digest) == (3, first.digest)


def test_content_is_kept_as_it_was(own: OwnResources) -> None:
    """Chinese, a zero byte, numbers and lists."""
    created = create(own, name="评估 方式", description="a\0b\U0001f600", metrics=["bleu"], learning_rate=1e-05)
    assert own.find(SCORINGS, "评估 方式", 1) == created


def test_second_writer_is_told_who_changed_what(own: OwnResources) -> None:
    """And what to do about it; nothing is lost."""
    create(own)
    edit(own, 1, author="ben", max_new_tokens=9)
    said = (
        r"Scoring 'short' is at version 2, not 1: 2 saved by ben at \S+ \S+ UTC changed max_new_tokens\. See it with `dtx scoring show short`.*--based-on 2\."
    )
    with pytest.raises(ConflictError, match=said):
        edit(own, 1, max_new_tokens=7)
    assert own.latest()[0].content["max_new_tokens"] == 9


def test_version_that_is_not_there_is_no_base_of_an_edit(own: OwnResources) -> None:
    """It is a mistake of whoever names it, not of a second writer."""
    create(own)
    with pytest.raises(SpecError, match=re.escape("Scoring 'short' has no version 7. The latest is 1, saved by ann")):
        edit(own, 7, max_new_tokens=9)


def test_name_is_taken_once(own: OwnResources) -> None:
    """For each kind and team."""
    create(own)
    with pytest.raises(SpecError, match=re.escape("Scoring 'short' is there already: version 1, saved by ann at")):
        create(own, max_new_tokens=2)
    own.create(GROUPS, content(), {}, author="ann")
    create(OwnResources(own.url, "other"))


def test_name_does_not_end_like_a_version(own: OwnResources) -> None:
    """Nobody could say what `short@2` means."""
    with pytest.raises(SpecError, match="Choose a name that does not end so"):
        create(own, name="short@2")


def test_what_is_not_there_is_told_with_what_is(own: OwnResources) -> None:
    """By edit and by delete."""
    create(own)
    with pytest.raises(SpecError, match=re.escape("There is no Scoring 'shirt' of your own. Did you mean 'short'? Known: short.")):
        edit(own, 1, name="shirt")
    with pytest.raises(SpecError, match=r"There is no HyperparameterGroup 'short' of your own\. None is defined\."):
        own.delete(GROUPS, "short")


def test_number_of_a_deleted_version_is_not_given_again(own: OwnResources) -> None:
    """What a report calls short@1 stays one thing."""
    create(own)
    own.delete(SCORINGS, "short")
    assert (own.versions(SCORINGS, "short"), own.latest()) == ([], [])
    assert create(own, max_new_tokens=2).number == 2


def test_changed_file_is_a_new_version(own: OwnResources) -> None:
    """With the definition as it was, and only once."""
    first = own.create(DATASETS, content("rows"), {"train": "a"}, author="ann")
    noted = own.note_files(first, DATASETS, {"train": "b"}, author="a plan of x")
    assert (noted.number, noted.content, noted.files, noted.note) == (2, first.content, {"train": "b"}, "files changed")
    assert noted.digest != first.digest
    assert own.note_files(first, DATASETS, {"train": "b"}, author="a plan of y") == noted


def test_file_that_changes_during_an_edit_is_looked_at_again(own: OwnResources) -> None:
    """The plan saw a definition that is not the latest any more."""
    first = own.create(DATASETS, content("rows"), {"train": "a"}, author="ann")
    own.edit(DATASETS, content("rows", max_samples=3), {"train": "a"}, based_on=1, author="ben")
    with pytest.raises(TransientError, match=r"'rows' was edited while it was looked at: version 2, saved by ben .* Try again\."):
        own.note_files(first, DATASETS, {"train": "b"}, author="a plan of x")


def test_conflict_tells_changed_files(own: OwnResources) -> None:
    """They are changes as well."""
    first = own.create(DATASETS, content("rows"), {"train": "a"}, author="ann")
    own.note_files(first, DATASETS, {"train": "b"}, author="a plan of x")
    with pytest.raises(ConflictError, match=r"2 saved by a plan of x at .* \(files changed\) changed the file of train\."):
        own.edit(DATASETS, content("rows", max_samples=3), {"train": "b"}, based_on=1, author="ann")


def test_author_needs_no_more_than_the_catalogs_own_schema(server: str) -> None:
    """The rights of docs/deploy.md: nothing of Airflow's, where the catalog is in its database."""
    owner = OwnResources(f"{server}/postgres", "rights")
    owner.latest()
    grants = re.search(r"`(CREATE USER author .*? TO author)`", (Path(__file__).parents[3] / "docs/deploy.md").read_text())
    assert grants
    with create_engine(owner.url).begin() as connection:
        connection.execute(text(grants[1]))
    author = OwnResources(owner.url.replace("//postgres@", "//author@").replace("//dtx@", "//author@"), "rights")
    create(author)
    edit(author, 1, max_new_tokens=9)
    author.delete(SCORINGS, "short")
    assert owner.latest() == []


WRITER = """
import sys
from dtx_tasks.catalog import SCORINGS, ConflictError
from dtx_tasks.catalog.store import OwnResources
from dtx_tasks.errors import SpecError

url, who, verb = sys.argv[1:]
own = OwnResources(url, "default")
print("ready", flush=True)
sys.stdin.readline()
content = {"name": "short", "description": who}
try:
    made = own.create(SCORINGS, content, {}, author=who) if verb == "create" else own.edit(SCORINGS, content, {}, based_on=1, author=who)
    print("saved", made.number)
except ConflictError as error:
    print("conflict", error)
except SpecError as error:
    print("refused", error)
"""


def at_once(url: str, verb: str, count: int = 3) -> list[str]:
    """What so many processes say that save at the same moment."""
    command = [sys.executable, "-c", WRITER, url]
    processes = [subprocess.Popen([*command, f"writer {number}", verb], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for number in range(count)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sorted(process.communicate(timeout=120)[0] for process in processes)


def test_of_processes_that_edit_at_once_one_saves(own: OwnResources) -> None:
    """The others are told by whom they were overtaken."""
    create(own)
    said = at_once(own.url, "edit")
    assert [line.split()[0] for line in said] == ["conflict", "conflict", "saved"]
    assert all("saved by writer" in line and "changed description" in line for line in said[:2])
    assert [version.number for version in own.versions(SCORINGS, "short")] == [2, 1]


def test_of_processes_that_create_at_once_one_saves(own: OwnResources) -> None:
    """In a database that none of them has found ready."""
    said = at_once(own.url, "create")
    assert [line.split()[0] for line in said] == ["refused", "refused", "saved"]
    assert [version.number for version in own.versions(SCORINGS, "short")] == [1]
