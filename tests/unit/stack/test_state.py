"""What is written down about a stack."""

import os
import stat
from pathlib import Path

import psutil
import pytest

from dtx_tasks.stack import Component, StackError, StackState, status
from dtx_tasks.stack.ports import Ports
from dtx_tasks.stack.processes import born_s, is_process
from dtx_tasks.stack.state import Settings, read_settings, read_state, write_settings, write_state


def make_state(supervisor_pid: int = 1, supervisor_born_s: float = 1.0, components: tuple[Component, ...] = ()) -> StackState:
    return StackState(
        airflow_url="http://127.0.0.1:1",
        mlflow_url="http://127.0.0.1:2",
        username="admin",
        password="secret",
        supervisor_pid=supervisor_pid,
        supervisor_born_s=supervisor_born_s,
        started_at="2026-01-01T00:00:00+00:00",
        components=components,
    )


def make_settings(dags_folder: Path = Path("/dags"), airflow_port: int = 1) -> Settings:
    return Settings(
        dags_folder=dags_folder,
        plugins_folder=Path("/plugins"),
        parallelism=2,
        ports=Ports(airflow=airflow_port, mlflow=2),
        config_env={"A": "b"},
    )


def test_state_survives_the_file(tmp_path: Path) -> None:
    """A state is read back as it was written, components included."""
    state = make_state(components=(Component("scheduler", pid=5, started_at="2026-01-01T00:00:00+00:00"),))
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state


def test_settings_survive_the_file(tmp_path: Path) -> None:
    """Settings are read back as they were written, paths and ports included."""
    write_settings(tmp_path, make_settings())
    assert read_settings(tmp_path) == make_settings()


def test_state_is_for_its_owner_only(tmp_path: Path) -> None:
    """The file holds a password, so nobody else can read it."""
    write_state(tmp_path, make_state())
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600


def test_state_replaces_the_one_before_and_leaves_no_draft(tmp_path: Path) -> None:
    """A second write leaves one file, with the second state."""
    write_state(tmp_path, make_state(supervisor_pid=1))
    write_state(tmp_path, make_state(supervisor_pid=2))
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]
    assert read_state(tmp_path) == make_state(supervisor_pid=2)


def test_password_is_not_printed() -> None:
    """A state that ends up in a log does not give the password away."""
    assert "secret" not in repr(make_state())


def test_unreadable_state_says_what_to_do(tmp_path: Path) -> None:
    """A file of another version is refused with the way out."""
    (tmp_path / "stack.json").write_text('{"components": [], "colour": "red"}')
    with pytest.raises(StackError, match=r"stack\.json: this is not a file of this version.*Delete it"):
        read_state(tmp_path)


def test_no_stack_has_no_status(tmp_path: Path) -> None:
    """Where nothing was started, nothing runs."""
    assert status(tmp_path) is None


def test_dead_supervisor_is_no_stack(tmp_path: Path) -> None:
    """A file that a killed supervisor left behind is not taken for a stack."""
    write_state(tmp_path, make_state(supervisor_pid=2**22 + 1))
    assert status(tmp_path) is None


def test_reused_pid_is_no_stack(tmp_path: Path) -> None:
    """A process that has the supervisor's pid, but started at another time, is another process."""
    born = born_s(psutil.Process())
    write_state(tmp_path, make_state(supervisor_pid=os.getpid(), supervisor_born_s=born - 60))
    assert status(tmp_path) is None


def test_process_is_known_by_pid_and_birth() -> None:
    """The running process is recognised by what was recorded about it."""
    assert is_process(os.getpid(), born_s(psutil.Process()))


def test_stack_without_an_unhealthy_component_is_healthy() -> None:
    """One component with a problem makes the whole stack unhealthy."""
    well, ill = Component("a", pid=1), Component("b", pid=2, problem="it is starting")
    assert make_state(components=(well,)).healthy
    assert not make_state(components=(well, ill)).healthy


def test_digest_ignores_ports() -> None:
    """The same stack on other ports is still the same stack."""
    assert make_settings(airflow_port=1).digest == make_settings(airflow_port=9).digest


def test_digest_changes_with_the_dags_folder() -> None:
    """A stack with other DAGs is another stack."""
    assert make_settings().digest != make_settings(dags_folder=Path("/other")).digest
