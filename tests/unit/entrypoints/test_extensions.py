"""Locks that killed processes leave beside what torch compiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.utils.file_baton import FileBaton

from dtx_tasks.entrypoints.extensions import extensions_folder, free_stale_locks

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_lock_that_nobody_holds_is_removed(tmp_path: Path) -> None:
    """Torch would wait for it for ever; what was compiled stays."""
    operator = tmp_path / "py311_cpu/deepspeed_shm_comm"
    operator.mkdir(parents=True)
    (operator / "lock").touch()
    (operator / "shm.o").touch()
    assert free_stale_locks(tmp_path) == [operator / "lock"]
    assert [path.name for path in operator.iterdir()] == ["shm.o"]


def test_lock_of_a_process_that_compiles_is_kept(tmp_path: Path) -> None:
    """Held as torch holds it."""
    baton = FileBaton(str(tmp_path / "lock"))
    assert baton.try_acquire()
    assert free_stale_locks(tmp_path) == []
    baton.release()
    assert not (tmp_path / "lock").exists()


def test_folder_of_what_torch_compiles_is_torchs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's cache, unless TORCH_EXTENSIONS_DIR names another one."""
    from torch.utils.cpp_extension import get_default_build_root

    monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
    assert str(extensions_folder()) == get_default_build_root()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    assert extensions_folder() == tmp_path.resolve()
