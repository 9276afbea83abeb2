"""Files that a reader sees as a whole or not at all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dtx_tasks.errors import SpecError
from dtx_tasks.records import Attempt, FileEntry
from dtx_tasks.storage import (
    append_line,
    copy_folder,
    create,
    exists,
    list_names,
    local_path,
    manifest,
    read_bytes,
    read_lines,
    read_record,
    remove,
    verify,
    write_bytes,
    write_record,
    written_at,
)
from tests.builders import make_attempt

KILLED_WHILE_WRITING = """
import resource, signal, sys
from dtx_tasks.storage import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_bytes(sys.argv[1], b"new" * 1000)
"""

CREATING = """
import sys
from dtx_tasks.storage import create
print(create(sys.argv[1], sys.argv[2].encode()))
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def test_file_knows_when_it_was_written(tmp_path: Path) -> None:
    """One that is not there was never written."""
    write_bytes(f"{tmp_path}/a", b"1")
    assert written_at(f"{tmp_path}/a") == (tmp_path / "a").stat().st_mtime
    assert written_at(f"{tmp_path}/none") is None


def test_written_file_is_read(tmp_path: Path) -> None:
    """Folders on the way are made; what was there is replaced."""
    uri = f"{tmp_path}/a/b/c.json"
    write_bytes(uri, b"one")
    write_bytes(uri, b"two")
    assert read_bytes(uri) == b"two"


def test_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    """Half a file is never in the place of a whole one, and nobody lists what is left of it."""
    uri = f"{tmp_path}/record.json"
    write_bytes(uri, b"old")
    assert run(KILLED_WHILE_WRITING, uri).returncode < 0
    assert len(os.listdir(tmp_path)) == 2
    assert (read_bytes(uri), list_names(str(tmp_path))) == (b"old", ["record.json"])


def test_writer_that_is_killed_leaves_nothing_new(tmp_path: Path) -> None:
    """A reader of a file that was never whole finds none."""
    uri = f"{tmp_path}/record.json"
    assert run(KILLED_WHILE_WRITING, uri).returncode < 0
    assert not exists(uri)


def test_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    """Another user's server may have to read it."""
    write_bytes(f"{tmp_path}/a", b"")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_file_is_created_once(tmp_path: Path) -> None:
    """The second creator is told, and changes nothing."""
    uri = f"{tmp_path}/a/claim"
    assert (create(uri, b"one"), create(uri, b"two"), read_bytes(uri)) == (True, False, b"one")
    assert list_names(f"{tmp_path}/a") == ["claim"]


def test_one_of_two_processes_creates_a_file(tmp_path: Path) -> None:
    """Whoever is told True is the one whose content is there."""
    uri = f"{tmp_path}/claim"
    processes = [subprocess.Popen([sys.executable, "-c", CREATING, uri, str(number)], stdout=subprocess.PIPE, text=True) for number in range(2)]
    answers = [process.communicate()[0].strip() for process in processes]
    assert sorted(answers) == ["False", "True"]
    assert read_bytes(uri) == str(answers.index("True")).encode()


def test_missing_file_is_told_by_its_uri(tmp_path: Path) -> None:
    """A folder is no file, and what lies below a file is not there."""
    write_bytes(f"{tmp_path}/file", b"")
    for uri in (f"{tmp_path}/none", str(tmp_path), f"{tmp_path}/file/below"):
        with pytest.raises(FileNotFoundError, match=re.escape(uri)):
            read_bytes(uri)


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    """A reader never sees a line that is still being written."""
    uri = f"{tmp_path}/events"
    append_line(uri, "one")
    with (tmp_path / "events").open("ab") as file:
        file.write(b"tw")
    lines, offset = read_lines(uri)
    with (tmp_path / "events").open("ab") as file:
        file.write(b"o\n")
    assert (lines, read_lines(uri, offset)) == (["one"], (["two"], 8))


def test_lines_without_a_file_are_none(tmp_path: Path) -> None:
    """The offset stays for when it is there."""
    assert read_lines(f"{tmp_path}/none", 7) == ([], 7)


@pytest.mark.parametrize("line", ["a\u2028b", "a\u0085b", "a\x0cb", "", "识别"])
def test_line_is_read_as_it_was_appended(tmp_path: Path, line: str) -> None:
    """Only a line feed ends a line."""
    append_line(f"{tmp_path}/events", line)
    append_line(f"{tmp_path}/events", "next")
    assert read_lines(f"{tmp_path}/events")[0] == [line, "next"]


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Through a file and back."""
    write_record(f"{tmp_path}/1.json", make_attempt(reached_step=3))
    assert read_record(f"{tmp_path}/1.json", Attempt) == make_attempt(reached_step=3)


@pytest.mark.parametrize("content", ["", "{}", "null", '{"number": 1}', "\x00" * 20])
def test_file_that_is_no_record_is_none(tmp_path: Path, content: str) -> None:
    """A record of another version, or of no version, is not there."""
    write_bytes(f"{tmp_path}/1.json", content.encode())
    assert read_record(f"{tmp_path}/1.json", Attempt) is None


def test_manifest_vouches_for_every_file(tmp_path: Path) -> None:
    """Files below folders too, in the order of their paths."""
    write_bytes(f"{tmp_path}/b", b"12")
    write_bytes(f"{tmp_path}/a/c", b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    found = manifest(tmp_path)
    assert [(entry.path, entry.num_bytes) for entry in found] == [("a/c", 0), ("b", 2)]
    assert found[0].sha256 == empty


@pytest.mark.parametrize("harm", ["cut", "removed", "a folder"])
def test_harmed_file_is_noticed(tmp_path: Path, harm: str) -> None:
    """A record whose files are not all there in their size is void."""
    write_bytes(f"{tmp_path}/a/weights", b"12345")
    files = manifest(tmp_path)
    assert verify(str(tmp_path), files)
    remove(f"{tmp_path}/a/weights")
    if harm == "cut":
        write_bytes(f"{tmp_path}/a/weights", b"1234")
    elif harm == "a folder":
        write_bytes(f"{tmp_path}/a/weights/inside", b"12345")
    assert not verify(str(tmp_path), files)


def test_nothing_to_vouch_for_is_valid(tmp_path: Path) -> None:
    """A record without files needs no folder."""
    assert verify(f"{tmp_path}/none", ())
    assert not verify(f"{tmp_path}/none", [FileEntry(path="a", sha256="", num_bytes=0)])


def test_folder_is_copied_whole(tmp_path: Path) -> None:
    """With folders below, following links to files."""
    write_bytes(f"{tmp_path}/from/a/b", b"1")
    (tmp_path / "from" / "link").symlink_to(tmp_path / "from" / "a" / "b")
    copy_folder(tmp_path / "from", f"{tmp_path}/to")
    assert [entry.path for entry in manifest(tmp_path / "to")] == ["a/b", "link"]
    assert not (tmp_path / "to" / "link").is_symlink()


def test_removing_twice_is_removing_once(tmp_path: Path) -> None:
    """Files and whole folders."""
    write_bytes(f"{tmp_path}/a/b", b"")
    for uri in (f"{tmp_path}/a/b", f"{tmp_path}/a/b", f"{tmp_path}/a", f"{tmp_path}/a"):
        remove(uri)
    assert list_names(str(tmp_path)) == []


def test_names_are_sorted(tmp_path: Path) -> None:
    """A folder that is not there has none."""
    for name in ("b", "a", "10", "9"):
        write_bytes(f"{tmp_path}/{name}", b"")
    assert list_names(str(tmp_path)) == ["10", "9", "a", "b"]
    assert list_names(f"{tmp_path}/none") == list_names(f"{tmp_path}/a") == []


def test_local_uri_is_a_path() -> None:
    """With the scheme and without."""
    assert local_path("file:///data/a") == local_path("/data/a") == Path("/data/a")


@pytest.mark.parametrize("uri", ["s3://bucket/a", "https://host/a", "hf://a/b"])
def test_other_storage_is_refused(uri: str) -> None:
    """Rather than made a folder called `s3:`."""
    with pytest.raises(SpecError, match=re.escape(f"{uri}: this kind of storage cannot be reached. Use a local path, or s3://BUCKET/PREFIX.")):
        local_path(uri)
