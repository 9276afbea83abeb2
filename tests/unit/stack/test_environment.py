"""The settings of the embedded Airflow and MLflow."""

import configparser
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dtx_tasks.stack import Ports, StackError, airflow_environment
from dtx_tasks.stack.components import (
    airflow_commands,
    database_command,
    is_database_ready,
    mlflow_command,
    record_database_ready,
)
from dtx_tasks.stack.credentials import ensure_credentials
from dtx_tasks.stack.environment import process_environment
from dtx_tasks.stack.processes import FOLDER_MARK
from dtx_tasks.stack.state import Settings

PORTS = Ports(airflow=21001, mlflow=21002)


def make_environment(folder: Path) -> dict[str, str]:
    return airflow_environment(
        folder,
        ports=PORTS,
        dags_folder=folder / "dags",
        plugins_folder=folder / "plugins",
        parallelism=3,
    )


def make_settings(folder: Path, **config_env: str) -> Settings:
    return Settings(
        dags_folder=folder / "dags",
        plugins_folder=folder / "plugins",
        parallelism=2,
        ports=PORTS,
        config_env=config_env,
    )


def test_no_examples_are_loaded(tmp_path: Path) -> None:
    """A new user sees the DAGs of this project and no others."""
    assert make_environment(tmp_path)["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"


def test_login_is_required(tmp_path: Path) -> None:
    """Being on the same machine does not make one an administrator."""
    assert make_environment(tmp_path)["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"


def test_servers_listen_on_this_machine_only(tmp_path: Path) -> None:
    """Neither server can be reached over the network."""
    mlflow = mlflow_command(tmp_path, make_settings(tmp_path))
    assert make_environment(tmp_path)["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert mlflow is not None
    assert mlflow.argv[mlflow.argv.index("--host") + 1] == "127.0.0.1"


def test_tasks_find_the_servers(tmp_path: Path) -> None:
    """Tasks talk to this stack's API server and this stack's MLflow."""
    environment = make_environment(tmp_path)
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:21001/execution/"
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:21002"


def test_all_state_is_in_the_folder(tmp_path: Path) -> None:
    """Every path that Airflow writes to is below the stack's folder, even one with a space."""
    environment = make_environment(tmp_path / "a b")
    assert environment["AIRFLOW_HOME"] == str(tmp_path / "a b" / "airflow")
    assert str(tmp_path / "a b") in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_secrets_stay_out_of_the_environment(tmp_path: Path) -> None:
    """Tasks inherit the environment, so no key is in it."""
    ensure_credentials(tmp_path)
    names = [name for command in airflow_commands(tmp_path, make_settings(tmp_path)) for name in command.environment]
    assert not {name for name in names if name.startswith("AIRFLOW__") and ("SECRET" in name or "FERNET" in name)}


@pytest.mark.parametrize("character", ["%", "$", "?", "#"])
def test_path_that_airflow_cannot_take_is_refused(tmp_path: Path, character: str) -> None:
    """A character that a URL or a configuration file would interpret is refused before the start."""
    with pytest.raises(StackError, match="Airflow cannot work in a path with"):
        make_environment(tmp_path / f"a{character}b")


def test_relative_path_is_refused() -> None:
    """Processes run in other folders, so that a relative path would mean another place."""
    with pytest.raises(StackError, match="needs absolute paths"):
        make_environment(Path("here"))


def test_other_airflow_of_the_caller_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that is set up for another Airflow does not lead this stack to its database."""
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://production")
    environment = process_environment(tmp_path, {}, {})
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    assert "MLFLOW_TRACKING_URI" not in environment


def test_configuration_has_the_last_word(tmp_path: Path) -> None:
    """What the user configured overrides the settings of the stack."""
    assert process_environment(tmp_path, {"A": "stack"}, {"A": "user"})["A"] == "user"


def test_servers_are_reached_without_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A company's proxy, which cannot reach this machine, is not asked; its exceptions are kept."""
    monkeypatch.setenv("NO_PROXY", "intranet")
    assert process_environment(tmp_path, {}, {})["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_bytecode_is_kept_even_where_packages_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that writes no bytecode into packages gets it in the stack's folder instead."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    environment = process_environment(tmp_path, {}, {})
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["PYTHONPYCACHEPREFIX"] == str(tmp_path / "bytecode")


def test_every_process_carries_the_mark_of_its_folder(tmp_path: Path) -> None:
    """Processes that outlive their parents are found by what is in their environment."""
    commands = airflow_commands(tmp_path, make_settings(tmp_path))
    assert {command.environment[FOLDER_MARK] for command in commands} == {str(tmp_path)}


def test_configured_mlflow_replaces_the_embedded_one(tmp_path: Path) -> None:
    """With the address of another MLflow in the configuration, none is started here."""
    settings = make_settings(tmp_path, MLFLOW_TRACKING_URI="https://mlflow.example")
    assert mlflow_command(tmp_path, settings) is None


def test_database_is_set_up_once(tmp_path: Path) -> None:
    """After the set-up was recorded, it is skipped for as long as the database is there."""
    settings = make_settings(tmp_path)
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "airflow.db").touch()
    assert not is_database_ready(tmp_path, settings)
    record_database_ready(tmp_path, settings)
    assert is_database_ready(tmp_path, settings)
    (tmp_path / "airflow" / "airflow.db").unlink()
    assert not is_database_ready(tmp_path, settings)


def test_other_database_is_set_up_again(tmp_path: Path) -> None:
    """A database that the configuration names is not taken for the one that is ready."""
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "airflow.db").touch()
    record_database_ready(tmp_path, make_settings(tmp_path))
    elsewhere = make_settings(tmp_path, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="postgresql://elsewhere")
    assert not is_database_ready(tmp_path, elsewhere)


def test_programs_are_run_as_modules(tmp_path: Path) -> None:
    """No installed script is started, whose first line cannot hold a path with spaces."""
    assert database_command(tmp_path, make_settings(tmp_path)).argv[1:4] == ("-P", "-m", "airflow")


def test_credentials_are_made_once(tmp_path: Path) -> None:
    """A restart keeps the password and the keys that encrypt what is in the database."""
    password = ensure_credentials(tmp_path)
    keys = (tmp_path / "airflow" / "airflow.cfg").read_text()
    assert ensure_credentials(tmp_path) == password
    assert (tmp_path / "airflow" / "airflow.cfg").read_text() == keys


def test_credentials_are_for_their_owner_only(tmp_path: Path) -> None:
    """Nobody else on the machine can read the keys or the password."""
    ensure_credentials(tmp_path)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "airflow").iterdir()}
    assert modes == {0o600}


def test_keys_are_different_in_every_stack(tmp_path: Path) -> None:
    """A token of one stack is no good in another."""
    for name in ("a", "b"):
        ensure_credentials(tmp_path / name)
    texts = [(tmp_path / name / "airflow" / "airflow.cfg").read_text() for name in ("a", "b")]
    parsers = [configparser.ConfigParser() for _ in texts]
    for parser, text in zip(parsers, texts, strict=True):
        parser.read_string(text)
    assert parsers[0]["api_auth"]["jwt_secret"] != parsers[1]["api_auth"]["jwt_secret"]
    assert parsers[0]["core"]["fernet_key"] != parsers[1]["core"]["fernet_key"]


def test_passwords_without_ours_are_refused(tmp_path: Path) -> None:
    """A file of passwords that lacks the user is not silently extended."""
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "passwords.json").write_text(json.dumps({"eve": "x"}))
    with pytest.raises(StackError, match=r"passwords\.json: it has no password for 'admin'. Delete it"):
        ensure_credentials(tmp_path)


def test_stack_imports_neither_airflow_nor_mlflow() -> None:
    """The command line stays fast: the heavy packages are imported by the stack's processes only."""
    code = "import sys, dtx_tasks.stack, dtx_tasks.stack.rest; print({'airflow', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
