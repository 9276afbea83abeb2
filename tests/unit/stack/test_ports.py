"""Which ports a stack takes."""

import socket
from pathlib import Path

from dtx_tasks.stack.ports import HOST, Ports, choose_ports, is_free


def test_ports_of_a_stack_differ(tmp_path: Path) -> None:
    """Two servers do not get the same port."""
    ports = choose_ports(tmp_path)
    assert ports.airflow != ports.mlflow


def test_folder_keeps_its_ports(tmp_path: Path) -> None:
    """The same folder gets the same ports, even with nothing recorded."""
    assert choose_ports(tmp_path) == choose_ports(tmp_path)


def test_clones_get_different_ports(tmp_path: Path) -> None:
    """Two folders that start at the same moment do not race for one port."""
    assert choose_ports(tmp_path / "a") != choose_ports(tmp_path / "b")


def test_previous_ports_are_taken_again(tmp_path: Path) -> None:
    """A restart keeps the addresses that people have in their browsers."""
    previous = choose_ports(tmp_path / "other")
    assert choose_ports(tmp_path, previous) == previous


def test_taken_port_is_avoided(tmp_path: Path) -> None:
    """A port that some server listens on is left alone, and so are the previous ones then."""
    previous = choose_ports(tmp_path)
    with socket.socket() as server:
        server.bind((HOST, previous.airflow))
        server.listen()
        assert not is_free(previous.airflow)
        assert previous.airflow not in vars(choose_ports(tmp_path, previous)).values()


def test_ports_are_outside_the_ephemeral_range(tmp_path: Path) -> None:
    """No outgoing connection can take a port between its choice and its use."""
    assert choose_ports(tmp_path).airflow < 32_768


def test_ports_compare_by_value() -> None:
    """Ports that were read from a file equal those that were written."""
    assert Ports(airflow=1, mlflow=2) == Ports(airflow=1, mlflow=2)
