"""What training leaves on one machine, brought to S3 and from there to the next one."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from dtx_tasks.entrypoints.mirror import Mirror, forget_others, mirrored, restore, resume
from dtx_tasks.errors import DamagedError
from dtx_tasks.spec import Resources
from dtx_tasks.storage import append_line, list_names, read_bytes, workplace, write_bytes
from dtx_tasks.train.checkpoint import last_step, mark_complete, writer

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = Resources(), Resources(nodes=2)


def write_checkpoint(job_uri: str, step: int, resources: Resources = ONE, node: int = 0, best: int = 0) -> Path:
    """A complete checkpoint on this machine, as one machine of the resources leaves it."""
    folder = workplace(f"{job_uri}/scratch/checkpoint-{step}")
    (folder / f"rank-{node}.bin").write_bytes(f"state {step} of {node}".encode())
    if best:
        (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": f"/of/another/machine/checkpoint-{best}"}))
    mark_complete(folder, writer(resources), node)
    return folder


def forget_machine(job_uri: str) -> None:
    """As if the next attempt ran on another machine."""
    shutil.rmtree(workplace(job_uri))


def mirror(job_uri: str, node: int = 0, resources: Resources = ONE, *, is_mine: bool = True) -> Mirror:
    """A mirror of one machine."""
    return Mirror(job_uri, node, resources, lambda: is_mine)


def test_next_machine_goes_on_from_the_newest_checkpoint(bucket: str) -> None:
    """With its files, and with what was told so far."""
    job = f"{bucket}/jobs/a"
    append_line(str(workplace(job) / "events.jsonl"), '{"event": "started"}')
    write_checkpoint(job, 50)
    mirror(job).sync()
    forget_machine(job)
    assert last_step(f"{job}/scratch", ONE) == 50
    restore(job, 50, ONE)
    assert (workplace(job) / "scratch/checkpoint-50/rank-0.bin").read_text() == "state 50 of 0"
    assert (workplace(job) / "events.jsonl").read_text() == '{"event": "started"}\n'


def test_half_a_checkpoint_is_not_copied(bucket: str) -> None:
    """The Trainer is still writing it."""
    job = f"{bucket}/jobs/a"
    (workplace(f"{job}/scratch/checkpoint-50") / "rank-0.bin").write_bytes(b"half")
    mirror(job).sync()
    assert list_names(f"{job}/scratch") == []


def test_few_checkpoints_are_kept(bucket: str) -> None:
    """The newest, and one more should that be damaged."""
    job, copier = f"{bucket}/jobs/a", mirror(f"{bucket}/jobs/a")
    for step in (10, 20, 30, 40):
        write_checkpoint(job, step)
        copier.sync()
    assert list_names(f"{job}/scratch") == ["checkpoint-30", "checkpoint-40"]


def test_attempt_that_was_replaced_writes_nothing(bucket: str) -> None:
    """Its checkpoint would mix with the other one's."""
    job = f"{bucket}/jobs/a"
    write_checkpoint(job, 50)
    mirror(job, is_mine=False).sync()
    assert list_names(f"{job}/scratch") == []


def test_checkpoint_of_two_machines_needs_both_parts(bucket: str) -> None:
    """Each vouches for its own; both are brought to each."""
    job = f"{bucket}/jobs/a"
    write_checkpoint(job, 50, TWO, 0)
    mirror(job, 0, TWO).sync()
    assert last_step(f"{job}/scratch", TWO) == 0
    forget_machine(job)
    write_checkpoint(job, 50, TWO, 1)
    mirror(job, 1, TWO).sync()
    assert last_step(f"{job}/scratch", TWO) == 50
    forget_machine(job)
    restore(job, 50, TWO)
    assert {path.name for path in workplace(f"{job}/scratch/checkpoint-50").iterdir()} == {"rank-0.bin", "rank-1.bin"}


def test_checkpoint_of_other_resources_does_not_count(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Optimiser states fit no other number of processes, nor another way to shard; the log says so."""
    job = f"{bucket}/jobs/a"
    write_checkpoint(job, 50)
    mirror(job).sync()
    assert last_step(f"{job}/scratch", Resources(fsdp=True)) == 0
    assert resume(job, Resources(processes=2)) == 0
    assert "Checkpoints of 1 processes, no sharding are left out: 2 processes, no sharding cannot read them." in capsys.readouterr().out


def test_damaged_checkpoint_is_not_resumed_from(bucket: str) -> None:
    """Of the right size and with other content."""
    job = f"{bucket}/jobs/a"
    write_checkpoint(job, 50)
    mirror(job).sync()
    forget_machine(job)
    write_bytes(f"{job}/scratch/checkpoint-50/rank-0.bin", b"STATE 50 of 0")
    with pytest.raises(DamagedError, match="is damaged"):
        restore(job, 50, ONE)


def test_checkpoint_before_a_damaged_one_is_resumed_from(bucket: str) -> None:
    """That is what it is kept for; the damaged one is removed."""
    job, copier = f"{bucket}/jobs/a", mirror(f"{bucket}/jobs/a")
    for step in (50, 100):
        write_checkpoint(job, step)
        copier.sync()
    forget_machine(job)
    write_bytes(f"{job}/scratch/checkpoint-100/rank-0.bin", b"STATE 100 of 0")
    assert resume(job, ONE) == 50
    assert list_names(f"{job}/scratch") == ["checkpoint-50"]


def test_what_an_earlier_attempt_left_on_this_machine_is_cleared(bucket: str) -> None:
    """A newer checkpoint that was never copied must not be taken for this attempt's."""
    job = f"{bucket}/jobs/a"
    write_checkpoint(job, 200)
    assert resume(job, ONE) == 0
    assert list(workplace(f"{job}/scratch").iterdir()) == []


def test_other_checkpoints_are_forgotten_before_a_new_attempt(bucket: str) -> None:
    """Half of one that is newer would be taken for whole when its number comes again."""
    job = f"{bucket}/jobs/a"
    for step in (50, 100):
        write_bytes(f"{job}/scratch/checkpoint-{step}/rank-0.bin", b"x")
    forget_others(job, 50)
    assert list_names(f"{job}/scratch") == ["checkpoint-50"]


def test_last_words_are_copied_at_the_end(bucket: str) -> None:
    """Also when training was shorter than the interval."""
    job = f"{bucket}/jobs/a"
    with mirrored([mirror(job)]):
        append_line(str(workplace(job) / "events.jsonl"), "the last line")
    assert read_bytes(f"{job}/events.jsonl") == b"the last line\n"


def test_local_storage_needs_no_copy(tmp_path: Path) -> None:
    """What is worked on is where it stays."""
    job = f"{tmp_path}/jobs/a"
    write_checkpoint(job, 50)
    with mirrored([mirror(job)]):
        restore(job, 50, ONE)
    assert last_step(f"{job}/scratch", ONE) == 50


def test_best_checkpoint_is_kept_and_brought_with_the_newest(bucket: str) -> None:
    """However long ago it was; it may be what training ends with."""
    job, copier = f"{bucket}/jobs/a", mirror(f"{bucket}/jobs/a")
    for step in (10, 20, 30, 40):
        write_checkpoint(job, step, best=10)
        copier.sync()
    assert list_names(f"{job}/scratch") == ["checkpoint-10", "checkpoint-30", "checkpoint-40"]
    forget_machine(job)
    assert resume(job, ONE, with_best=True) == 40
    assert sorted(path.name for path in workplace(f"{job}/scratch").iterdir()) == ["checkpoint-10", "checkpoint-40"]
    assert list_names(f"{job}/scratch") == ["checkpoint-10", "checkpoint-40"]


def test_best_checkpoint_that_came_between_two_looks_is_copied_too(bucket: str) -> None:
    """The newest one is worth nothing without it."""
    job, copier = f"{bucket}/jobs/a", mirror(f"{bucket}/jobs/a")
    write_checkpoint(job, 10, best=10)
    write_checkpoint(job, 20, best=10)
    copier.sync()
    assert list_names(f"{job}/scratch") == ["checkpoint-10", "checkpoint-20"]


def test_checkpoint_without_its_best_is_not_resumed_from_where_that_counts(bucket: str) -> None:
    """The model of the end would silently be another one; an earlier checkpoint is taken."""
    job, copier = f"{bucket}/jobs/a", mirror(f"{bucket}/jobs/a")
    write_checkpoint(job, 10)
    copier.sync()
    write_checkpoint(job, 20, best=15)
    copier.sync()
    assert last_step(f"{job}/scratch", ONE) == 20
    assert last_step(f"{job}/scratch", ONE, with_best=True) == 10


def test_as_many_are_kept_as_were_asked_for(bucket: str) -> None:
    """save_total_limit counts on S3 too."""
    job = f"{bucket}/jobs/a"
    copier = Mirror(job, 0, ONE, lambda: True, 3)
    for step in (10, 20, 30, 40):
        write_checkpoint(job, step)
        copier.sync()
    assert list_names(f"{job}/scratch") == ["checkpoint-20", "checkpoint-30", "checkpoint-40"]


def test_damaged_checkpoint_on_this_machine_is_left_out_too(tmp_path: Path) -> None:
    """Of the right size and with other content: the SHA-256 of the mark says so, and the one before it is taken."""
    job = f"{tmp_path}/jobs/a"
    for step in (50, 100):
        write_checkpoint(job, step)
    (tmp_path / "jobs/a/scratch/checkpoint-100/rank-0.bin").write_bytes(b"STATE 100 of 0")
    assert last_step(f"{job}/scratch", ONE) == 100
    assert resume(job, ONE) == 50


def test_mark_is_written_last_with_sizes_and_digests(tmp_path: Path) -> None:
    """A checkpoint without it was killed while it was written."""
    job = f"{tmp_path}/jobs/a"
    folder = write_checkpoint(job, 50)
    (entry,) = json.loads((folder / "complete-0.json").read_text())["files"]
    assert entry == {"path": "rank-0.bin", "sha256": hashlib.sha256(b"state 50 of 0").hexdigest(), "num_bytes": 13}
    (folder / "complete-0.json").unlink()
    assert resume(job, ONE) == 0
