"""Files and folders on S3, as on local paths."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dtx_tasks.errors import SpecError, TransientError
from dtx_tasks.records import Attempt
from dtx_tasks.storage import (
    copy_folder,
    create,
    exists,
    list_names,
    read_bytes,
    read_lines,
    read_record,
    remove,
    s3,
    verify,
    write_bytes,
    write_record,
    written_at,
)
from tests.builders import make_attempt
from tests.unit.storage.wire import lost_once, refused

CREATING = """
import sys
from dtx_tasks.storage import create
print(create(sys.argv[1], sys.argv[2].encode()))
"""


def test_written_object_is_read(bucket: str) -> None:
    """What was there is replaced."""
    write_bytes(f"{bucket}/a/b.json", b"one")
    write_bytes(f"{bucket}/a/b.json", b"two")
    assert read_bytes(f"{bucket}/a/b.json") == b"two"


@pytest.mark.parametrize("name", ["a b", "a+b", "a#b", "a?b", "识别", "a%20b", "a=1&b"])
def test_name_may_hold_anything(bucket: str, name: str) -> None:
    """A URI is no URL: nothing in it is escaped."""
    write_bytes(f"{bucket}/folder/{name}", b"1")
    assert (read_bytes(f"{bucket}/folder/{name}"), list_names(f"{bucket}/folder")) == (b"1", [name])


def test_object_knows_when_it_was_written(bucket: str) -> None:
    """By the server's clock, which is this machine's here; S3 counts whole seconds."""
    write_bytes(f"{bucket}/a", b"1")
    assert written_at(f"{bucket}/a") == pytest.approx(time.time(), abs=10)
    assert written_at(f"{bucket}/none") is None


def test_missing_object_is_told_by_its_uri(bucket: str) -> None:
    """A folder is no object."""
    write_bytes(f"{bucket}/a/b", b"")
    for uri in (f"{bucket}/none", f"{bucket}/a"):
        with pytest.raises(FileNotFoundError, match=re.escape(uri)):
            read_bytes(uri)


def test_object_is_created_once(bucket: str) -> None:
    """The second creator is told, and changes nothing."""
    uri = f"{bucket}/a/claim"
    assert (create(uri, b"one"), create(uri, b"two"), read_bytes(uri)) == (True, False, b"one")


def test_one_of_two_processes_creates_an_object(bucket: str) -> None:
    """Whoever is told True is the one whose content is there."""
    uri = f"{bucket}/claim"
    processes = [subprocess.Popen([sys.executable, "-c", CREATING, uri, str(number)], stdout=subprocess.PIPE, text=True) for number in range(2)]
    answers = [process.communicate()[0].strip() for process in processes]
    assert sorted(answers) == ["False", "True"]
    assert read_bytes(uri) == str(answers.index("True")).encode()


def test_creating_counts_though_its_answer_was_lost(bucket: str) -> None:
    """The request is repeated, and finds what it put there itself."""
    with lost_once("PutObject") as lost:
        assert create(f"{bucket}/a", b"mine")
    assert lost == [200]


def test_folder_is_there_with_what_is_in_it(bucket: str) -> None:
    """With a slash at its end and without; the bucket itself too."""
    assert not exists(bucket)
    write_bytes(f"{bucket}/a/b/c", b"")
    assert all(exists(f"{bucket}{path}") for path in ("", "/a", "/a/", "/a/b", "/a/b/c"))
    assert not any(exists(f"{bucket}{path}") for path in ("/b", "/a/b/c/d", "/a/b/d"))


def test_beginning_of_a_name_is_not_there(bucket: str) -> None:
    """Neither as a file nor as a folder."""
    write_bytes(f"{bucket}/job-22/file", b"")
    assert not exists(f"{bucket}/job-2")


def test_neighbour_hides_no_folder(bucket: str) -> None:
    """`a-2` sorts before `a/`."""
    for path in ("a-2/x", "a-3", "a/x"):
        write_bytes(f"{bucket}/{path}", b"")
    assert exists(f"{bucket}/a")
    remove(f"{bucket}/a")
    assert not exists(f"{bucket}/a")
    assert list_names(bucket) == ["a-2", "a-3"]


def test_names_are_sorted(bucket: str) -> None:
    """Of files and folders, without hidden ones; a folder that is not there has none."""
    for path in ("f/b", "f/a/x", "f/a/y", "f/10", "f/9", "f/.hidden", "g"):
        write_bytes(f"{bucket}/{path}", b"")
    assert list_names(f"{bucket}/f") == list_names(f"{bucket}/f/") == ["10", "9", "a", "b"]
    assert list_names(f"{bucket}/none") == list_names(f"{bucket}/g") == []


def test_folder_of_many_is_listed_whole(bucket: str) -> None:
    """A server tells a thousand at a time."""
    names = [f"{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write_bytes(f"{bucket}/f/{name}", b""), names))
    assert list_names(f"{bucket}/f") == names
    remove(f"{bucket}/f")
    assert list_names(bucket) == []


def test_lines_are_read_from_an_offset(bucket: str) -> None:
    """A line that is still being written is left for later."""
    uri = f"{bucket}/events"
    write_bytes(uri, b"one\ntw")
    lines, offset = read_lines(uri)
    write_bytes(uri, b"one\ntwo\n")
    assert (lines, read_lines(uri, offset)) == (["one"], (["two"], 8))


def test_nothing_is_read_past_the_end(bucket: str) -> None:
    """At the end and behind it, of an empty object and of none; the offset stays."""
    write_bytes(f"{bucket}/events", b"one\n")
    write_bytes(f"{bucket}/empty", b"")
    assert (read_lines(f"{bucket}/events", 4), read_lines(f"{bucket}/events", 9)) == (([], 4), ([], 9))
    assert [read_lines(f"{bucket}/{name}", offset)[0] for name in ("empty", "none") for offset in (0, 7, -7)] == [[]] * 6


def test_last_lines_are_read_by_a_negative_offset(bucket: str) -> None:
    """All of them where there are fewer bytes."""
    write_bytes(f"{bucket}/events", b"one\ntwo\n")
    assert read_lines(f"{bucket}/events", -4)[0] == ["two"]
    assert read_lines(f"{bucket}/events", -100)[0] == ["one", "two"]


def test_record_is_read_as_it_was_written(bucket: str) -> None:
    """Through the server and back; none where there is none, or another."""
    write_record(f"{bucket}/1.json", make_attempt(reached_step=3))
    write_bytes(f"{bucket}/2.json", b"{}")
    assert read_record(f"{bucket}/1.json", Attempt) == make_attempt(reached_step=3)
    assert read_record(f"{bucket}/2.json", Attempt) is read_record(f"{bucket}/3.json", Attempt) is None


def test_removing_twice_is_removing_once(bucket: str) -> None:
    """Objects and whole folders, with what is hidden in them."""
    for path in ("a/b", "a/c/d", "a/.hidden"):
        write_bytes(f"{bucket}/{path}", b"")
    for uri in (f"{bucket}/a/b", f"{bucket}/a/b", f"{bucket}/a", f"{bucket}/a"):
        remove(uri)
    assert not exists(bucket)


def test_whole_bucket_is_not_removed(bucket: str) -> None:
    """It would be by a slip."""
    with pytest.raises(SpecError, match=re.escape(f"{bucket}/: is a whole bucket, which is not removed.")):
        remove(f"{bucket}/")


@pytest.mark.parametrize("harm", ["cut", "removed"])
def test_harmed_object_is_noticed(bucket: str, tmp_path: Path, harm: str) -> None:
    """A record whose files are not all there in their size is void."""
    write_bytes(f"{tmp_path}/from/a/weights", b"12345")
    files = copy_folder(tmp_path / "from", f"{bucket}/to")
    assert verify(f"{bucket}/to", files)
    remove(f"{bucket}/to/a/weights")
    if harm == "cut":
        write_bytes(f"{bucket}/to/a/weights", b"1234")
    assert not verify(f"{bucket}/to", files)


def test_nothing_to_vouch_for_is_valid(bucket: str) -> None:
    """A record without files needs no folder."""
    assert verify(f"{bucket}/none", ())


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
def test_refusal_says_what_to_look_at(bucket: str, code: str) -> None:
    """Somebody else mends it, and the stage is tried again."""
    with refused("", 403, code), pytest.raises(TransientError, match=rf"{bucket}/a: .*{code}.*The access key, its rights or the bucket's name are wrong"):
        read_bytes(f"{bucket}/a")


@pytest.mark.parametrize("ask", [read_bytes, exists, list_names, remove, lambda uri: write_bytes(uri, b""), lambda uri: create(uri, b"")])
def test_missing_bucket_is_no_missing_file(bucket: str, ask: Callable[[str], object]) -> None:
    """What was there is not taken for gone because of a wrong name."""
    with pytest.raises(TransientError, match=r"NoSuchBucket.*the bucket's name"):
        ask("s3://no-such-bucket-of-ours/a")


def test_uri_without_a_bucket_is_the_authors() -> None:
    """No retry helps."""
    with pytest.raises(SpecError, match=re.escape("s3:///a: names no bucket. Write s3://BUCKET/PREFIX.")):
        read_bytes("s3:///a")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "no-url"])
def test_server_that_cannot_be_reached_is_told_soon(bucket: str, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """A task's retries come on top."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    s3.client.cache_clear()
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"/a: .*Set AWS_ENDPOINT_URL and the access key for the storage\."):
        read_bytes(f"{bucket}/a")
    assert time.monotonic() - began < 10
