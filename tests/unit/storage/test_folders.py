"""Whole folders: put on S3, brought from there once, and checked on their way."""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dtx_tasks.errors import SpecError, TransientError
from dtx_tasks.records import FileEntry
from dtx_tasks.storage import (
    bring,
    bring_file,
    copy_folder,
    download,
    exists,
    link_folder,
    list_names,
    manifest,
    manifest_of,
    put_file,
    put_folder,
    put_path,
    read_bytes,
    remove,
    s3,
    sha256_of,
    workplace,
    write_bytes,
)
from dtx_tasks.storage.cache import make_room
from tests.unit.storage.wire import broken_once, handled, refused, watched

BRINGING = """
import sys
from dtx_tasks.storage import bring, manifest_of, s3
files, found = manifest_of(sys.argv[1]), []
s3.client().meta.events.register("before-send.s3.GetObject", lambda request, **_: found.append(request.url))
bring(sys.argv[1], files)
print(len(found))
"""


def made(folder: Path, **contents: str) -> Path:
    """A folder with files; two underscores stand for a slash."""
    for name, content in contents.items():
        write_bytes(f"{folder}/{name.replace('__', '/')}", content.encode())
    return folder


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_folder_is_put_in_place(bucket: str, tmp_path: Path) -> None:
    """With folders below; it is gone from here, and what is there is what was said."""
    files = put_folder(made(tmp_path / "from", a__b="1", c="22"), f"{bucket}/to")
    assert [(entry.path, entry.num_bytes, entry.sha256) for entry in files] == [("a/b", 1, sha256(b"1")), ("c", 2, sha256(b"22"))]
    assert (read_bytes(f"{bucket}/to/a/b"), (tmp_path / "from").exists()) == (b"1", False)
    assert manifest_of(f"{bucket}/to") == files


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o644), (0o700, 0o600), (0o775, 0o664)])
def test_whoever_may_read_the_folder_may_read_its_files(tmp_path: Path, folder_mode: int, file_mode: int) -> None:
    """Another user's server loads the weights, which safetensors writes for their owner alone."""
    folder = made(tmp_path / "from", a__weights="1", config="2")
    (folder / "a/weights").chmod(0o600)
    folder.chmod(folder_mode)
    put_folder(folder, f"{tmp_path}/to")
    assert [stat.S_IMODE((tmp_path / "to" / name).stat().st_mode) for name in ("a/weights", "config")] == [file_mode, file_mode]


def test_put_folder_replaces_what_was_there(bucket: str, tmp_path: Path) -> None:
    """Nothing of another attempt is left in it; neighbours stay."""
    made(tmp_path / "neighbour", x="")
    put_folder(tmp_path / "neighbour", f"{bucket}/to-2")
    put_folder(made(tmp_path / "old", a="old", b="old", c__d="old"), f"{bucket}/to")
    put_folder(made(tmp_path / "new", a="new"), f"{bucket}/to")
    assert (list_names(f"{bucket}/to"), read_bytes(f"{bucket}/to/a"), list_names(f"{bucket}/to-2")) == (["a"], b"new", ["x"])


def test_interrupted_upload_goes_on(bucket: str, tmp_path: Path) -> None:
    """What arrived is not sent again, unless it has another content of the same size."""
    copy_folder(made(tmp_path / "part", a="arrived", b="another"), f"{bucket}/to")
    with watched("PutObject") as sent:
        put_folder(made(tmp_path / "whole", a="arrived", b="content", c="new"), f"{bucket}/to")
    assert sorted(url.rpartition("/")[2] for url in sent) == ["b", "c"]
    assert read_bytes(f"{bucket}/to/b") == b"content"


def test_copied_folder_stays_here(bucket: str, tmp_path: Path) -> None:
    """What else is there stays too; links to files are followed, hidden ones left out."""
    write_bytes(f"{bucket}/to/before", b"")
    (made(tmp_path / "from", a="1", **{".note": ""}) / "link").symlink_to(tmp_path / "from" / "a")
    assert copy_folder(tmp_path / "from", f"{bucket}/to") == manifest(tmp_path / "from")
    assert list_names(f"{bucket}/to") == ["a", "before", "link"]


def test_large_file_goes_in_parts(bucket: str, tmp_path: Path) -> None:
    """The digest of the whole is noted; it comes back in parts at the same time."""
    content = os.urandom(s3.PART_BYTES + 1_000_000)
    write_bytes(f"{tmp_path}/from/weights", content)
    with watched("UploadPart") as sent, watched("GetObject") as brought:
        files = copy_folder(tmp_path / "from", f"{bucket}/to")
        assert (bring(f"{bucket}/to", files) / "weights").read_bytes() == content
    assert (len(sent), len(brought)) == (2, 2)
    assert manifest_of(f"{bucket}/to") == files


def test_large_file_that_is_refused_says_what_to_look_at(bucket: str, tmp_path: Path) -> None:
    """As a small one does."""
    write_bytes(f"{tmp_path}/from/weights", bytes(s3.PART_BYTES + 1))
    with refused("UploadPart", 403, "AccessDenied"), pytest.raises(TransientError, match="The access key, its rights or the bucket's name"):
        copy_folder(tmp_path / "from", f"{bucket}/to")


@pytest.mark.parametrize("num_bytes", [10, s3.PART_BYTES + 1])
def test_digest_goes_along_and_is_signed(bucket: str, tmp_path: Path, num_bytes: int) -> None:
    """The server checks what arrives; nobody on the way can change both."""
    write_bytes(f"{tmp_path}/from/file", bytes(num_bytes))
    headers: list[dict[str, str]] = []
    with handled("", lambda request, **_: headers.append({key.lower(): str(value) for key, value in request.headers.items()})):
        copy_folder(tmp_path / "from", f"{bucket}/to")
    sent = [header for header in headers if int(header.get("content-length", 0)) in {num_bytes, s3.PART_BYTES, 1}]
    assert len(sent) == (1 if num_bytes == 10 else 2)
    assert all("x-amz-checksum-sha256" in header and re.search("SignedHeaders=[^,]*x-amz-checksum-sha256", header["authorization"]) for header in sent)


def test_file_is_put_once(bucket: str, tmp_path: Path) -> None:
    """Where it is named by its content."""
    write_bytes(f"{tmp_path}/a", b"rows")
    digest = sha256_of(tmp_path / "a")
    with watched("PutObject") as sent:
        found = [put_file(tmp_path / "a", f"{bucket}/{digest}/a", digest) for _ in range(2)]
    assert (found, len(sent), read_bytes(found[0])) == ([f"{bucket}/{digest}/a"] * 2, 1, b"rows")


def test_file_that_changed_since_its_digest_is_refused(bucket: str, tmp_path: Path) -> None:
    """Nobody finds it under the digest of another content."""
    write_bytes(f"{tmp_path}/a", b"rows and more")
    for place in (f"{tmp_path}/store/a", f"{bucket}/a"):
        with pytest.raises(TransientError):
            put_file(tmp_path / "a", place, sha256(b"rows"))
        assert not exists(place)
    with pytest.raises(TransientError, match=r"has changed while it was copied\. Try again when nothing writes to it\."):
        put_file(tmp_path / "a", f"{tmp_path}/store/a", sha256(b"rows"))


def test_large_file_that_changed_since_its_digest_is_refused(bucket: str, tmp_path: Path) -> None:
    """The server has not seen it as a whole."""
    write_bytes(f"{tmp_path}/a", bytes(s3.PART_BYTES + 1))
    with pytest.raises(TransientError, match="has changed while it was copied"):
        put_file(tmp_path / "a", f"{bucket}/a", sha256(b"rows"))
    assert not exists(f"{bucket}/a")


def test_wrong_file_in_a_place_is_put_right(tmp_path: Path) -> None:
    """Whoever left it there: of the same size too, and in a folder."""
    write_bytes(f"{tmp_path}/store/a", b"wrong")
    write_bytes(f"{tmp_path}/a", b"right")
    put_file(tmp_path / "a", f"{tmp_path}/store/a", sha256(b"right"))
    assert read_bytes(f"{tmp_path}/store/a") == b"right"
    made(tmp_path / "from", a="right")
    made(tmp_path / "to", a="wrong")
    put_path(tmp_path / "from", manifest(tmp_path / "from"), f"{tmp_path}/to", "")
    assert read_bytes(f"{tmp_path}/to/a") == b"right"


def test_folder_that_changed_since_its_digest_is_refused(bucket: str, tmp_path: Path) -> None:
    """As a file is: another content of the same size, or one file more."""
    for name, content in (("a", "new"), ("b", "more")):
        files = manifest(made(tmp_path / "from", a="old"))
        made(tmp_path / "from", **{name: content})
        for place in (f"{tmp_path}/store", f"{bucket}/store"):
            with pytest.raises(TransientError, match="has changed while it was copied"):
                put_path(tmp_path / "from", files, place, "")
            assert not exists(place)
        remove(f"{tmp_path}/from")


def test_file_is_put_under_another_name(bucket: str, tmp_path: Path) -> None:
    """As on local paths."""
    write_bytes(f"{tmp_path}/a", b"rows")
    put_file(tmp_path / "a", f"{bucket}/b", sha256(b"rows"))
    assert list_names(bucket) == ["b"]


def test_manifest_of_what_others_uploaded_has_the_servers_tags(bucket: str) -> None:
    """Nothing is downloaded for it; another content has another tag. Hidden files and the marks of folders are no files."""
    for path in ("f/a", "f/.cache/note", "f/b/"):
        s3.client().put_object(Bucket=bucket.removeprefix("s3://"), Key=path, Body=b"" if path == "f/b/" else b"1")
    with watched("GetObject") as brought:
        (before,) = manifest_of(f"{bucket}/f")
    write_bytes(f"{bucket}/f/a", b"2")
    (after,) = manifest_of(f"{bucket}/f")
    assert (before.path, before.num_bytes, brought, after.sha256 != before.sha256) == ("a", 1, [], True)
    assert before.sha256.startswith("etag:")


def test_folder_is_brought_once(bucket: str, tmp_path: Path) -> None:
    """The second time nothing is asked of the server."""
    files = put_folder(made(tmp_path / "from", a__b="1", c="22", empty=""), f"{bucket}/to")
    place = bring(f"{bucket}/to", files)
    with watched() as asked:
        assert bring(f"{bucket}/to", files) == place
    assert (manifest(place), asked) == (files, [])


def test_tagged_folder_is_brought(bucket: str) -> None:
    """What others uploaded has no digest to check, but the tag that it had."""
    s3.client().put_object(Bucket=bucket.removeprefix("s3://"), Key="f/a", Body=b"1")
    files = manifest_of(f"{bucket}/f")
    assert (bring(f"{bucket}/f", files) / "a").read_bytes() == b"1"


def test_two_processes_download_once(bucket: str, tmp_path: Path) -> None:
    """The second one waits for the first."""
    put_folder(made(tmp_path / "from", **{f"f{number}": str(number) for number in range(20)}), f"{bucket}/to")
    processes = [subprocess.Popen([sys.executable, "-c", BRINGING, f"{bucket}/to"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(int(process.communicate()[0]) for process in processes) == [0, 20]


def test_local_folder_is_read_where_it_is(tmp_path: Path) -> None:
    """Nothing is copied."""
    files = manifest(made(tmp_path / "a", b="1"))
    assert (bring(str(tmp_path / "a"), files), bring_file(f"{tmp_path}/a/b")) == (tmp_path / "a", tmp_path / "a/b")


def test_no_more_is_brought_than_the_record_knows(bucket: str, tmp_path: Path) -> None:
    """What somebody added behind it is left."""
    files = put_folder(made(tmp_path / "from", a="12345"), f"{bucket}/to")
    write_bytes(f"{bucket}/to/a", b"123456")
    assert (bring(f"{bucket}/to", files) / "a").read_bytes() == b"12345"


@pytest.mark.parametrize("content", [b"12349", b"1"])
def test_damaged_object_is_not_brought(bucket: str, tmp_path: Path, content: bytes) -> None:
    """Of the same size and a smaller one; when it is right again it is brought."""
    files = put_folder(made(tmp_path / "from", a="12345", b="right"), f"{bucket}/to")
    write_bytes(f"{bucket}/to/a", content)
    with pytest.raises(TransientError, match=rf"{bucket}/to/a is damaged: its SHA-256 is not {sha256(b'12345')}.*Remove the record beside"):
        bring(f"{bucket}/to", files)
    write_bytes(f"{bucket}/to/a", b"12345")
    assert (bring(f"{bucket}/to", files) / "a").read_bytes() == b"12345"


def test_missing_object_is_its_stages_to_make(bucket: str, tmp_path: Path) -> None:
    """What did arrive is not brought again when it is there."""
    files = put_folder(made(tmp_path / "from", a="1", b="2"), f"{bucket}/to")
    remove(f"{bucket}/to/b")
    with pytest.raises(TransientError, match=rf"{bucket}/to/b is missing\. Remove the record beside"):
        bring(f"{bucket}/to", files)
    write_bytes(f"{bucket}/to/b", b"2")
    with watched("GetObject") as brought:
        bring(f"{bucket}/to", files)
    assert [url.rpartition("/")[2] for url in brought] == ["b"]


def test_interrupted_download_goes_on(bucket: str, tmp_path: Path) -> None:
    """Whole files stay, halves are brought again."""
    files = put_folder(made(tmp_path / "from", a="whole", b="other"), f"{bucket}/to")
    made(tmp_path / "place", a="whole", b="oth")
    with watched("GetObject") as brought:
        download(f"{bucket}/to", files, tmp_path / "place")
    assert (manifest(tmp_path / "place"), [url.rpartition("/")[2] for url in brought]) == (files, ["b"])


def test_download_that_breaks_off_is_repeated(bucket: str, tmp_path: Path) -> None:
    """A connection may end in the middle of a file."""
    files = put_folder(made(tmp_path / "from", a="x" * 1000), f"{bucket}/to")
    with broken_once("GetObject") as broken:
        assert (bring(f"{bucket}/to", files) / "a").read_bytes() == b"x" * 1000
    assert len(broken) == 1


def test_one_file_is_brought(bucket: str) -> None:
    """As it is now, under its own name; again without a download, until it is another."""
    write_bytes(f"{bucket}/data/rows.jsonl", b"one")
    first = bring_file(f"{bucket}/data/rows.jsonl")
    with watched("GetObject") as brought:
        assert bring_file(f"{bucket}/data/rows.jsonl") == first
    write_bytes(f"{bucket}/data/rows.jsonl", b"two")
    assert (first.name, first.read_bytes(), bring_file(f"{bucket}/data/rows.jsonl").read_bytes(), brought) == ("rows.jsonl", b"one", b"two", [])


def test_one_file_is_checked(bucket: str) -> None:
    """Against the digest that a record has, with a word on what is there."""
    write_bytes(f"{bucket}/a", b"one")
    assert bring_file(f"{bucket}/a", sha256(b"one")).read_bytes() == b"one"
    with pytest.raises(TransientError, match=f"{bucket}/a is damaged"):
        bring_file(f"{bucket}/a", sha256(b"two"))
    with pytest.raises(FileNotFoundError, match=re.escape(f"{bucket}/none")):
        bring_file(f"{bucket}/none")


def test_unused_makes_room(bucket: str, tmp_path: Path) -> None:
    """What was not used for a day goes when a download would not fit in; what was used since stays, and what somebody is bringing."""
    for name in ("old", "busy", "new"):
        write_bytes(f"{tmp_path}/cache/{name}/file", b"")
        os.utime(tmp_path / "cache" / name, (0, time.time() - (60 if name == "new" else 25 * 3600)))
    too_large = FileEntry(path="none", sha256="", num_bytes=2 * shutil.disk_usage(tmp_path).free)
    with (tmp_path / "cache/busy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TransientError, match="is missing"):
            bring(f"{bucket}/to", [too_large])
    assert {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir() and path.suffix != ".partial"} == {"busy", "new"}


def test_cache_is_not_listed_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes a second where it has many entries: not even that it is no folder is seen."""
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("")
    make_room(1)
    with pytest.raises(NotADirectoryError):
        make_room(2 * shutil.disk_usage(tmp_path).free)


def test_nothing_makes_room_where_there_is_enough(bucket: str, tmp_path: Path) -> None:
    """A cache is there to be full. What is used again is as good as new."""
    files = put_folder(made(tmp_path / "from", a="1"), f"{bucket}/to")
    place = bring(f"{bucket}/to", files)
    os.utime(place, (0, 0))
    write_bytes(f"{bucket}/b", b"")
    bring_file(f"{bucket}/b")
    assert bring(f"{bucket}/to", files).stat().st_mtime > time.time() - 60


def test_workplace_of_remote_storage_is_on_this_machine(bucket: str, tmp_path: Path) -> None:
    """Each URI has its own; that of a local path is the path."""
    assert workplace(f"{bucket}/a") == tmp_path / "scratch" / bucket.removeprefix("s3://") / "a"
    assert workplace(f"{tmp_path}/b") == tmp_path / "b"
    assert (tmp_path / "b").is_dir()


def test_folder_is_linked_or_copied(tmp_path: Path) -> None:
    """On the same file system and on another one; what was there is replaced."""
    made(tmp_path / "from", a__b="1")
    elsewhere = Path("/dev/shm") / tmp_path.name
    made(tmp_path / "to", a__b="old")
    try:
        for target in (tmp_path / "to", elsewhere):
            link_folder(str(tmp_path / "from"), str(target))
            assert (target / "a/b").read_bytes() == b"1"
        assert (tmp_path / "to/a/b").stat().st_nlink == 2
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


def test_folder_on_s3_cannot_be_linked(tmp_path: Path) -> None:
    """It has no second place."""
    with pytest.raises(SpecError, match=r"s3://bucket/a: this kind of storage cannot be reached\."):
        link_folder("s3://bucket/a", str(tmp_path))
