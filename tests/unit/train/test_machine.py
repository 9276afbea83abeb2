"""Figures of the machine that not every machine has."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest
from pynvml import NVMLError_LibraryNotFound, NVMLError_NotSupported

from dtx_tasks.train.machine import Gauge

ERRORS = [ModuleNotFoundError("no nvidia-ml-py"), RuntimeError("cuda driver can't be loaded"), NVMLError_NotSupported(), NVMLError_LibraryNotFound()]


def test_figure_is_read_under_its_name() -> None:
    """As a number, whatever its kind."""
    assert Gauge("gpu", lambda: 7).read() == {"gpu": 7.0}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_figure_that_cannot_be_read_is_told_once(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """And is left out from then on: training goes on without it."""
    asked = []

    def look() -> NoReturn:
        asked.append(1)
        raise error

    gauge = Gauge("gpu", look)
    assert (gauge.read(), gauge.read(), len(asked)) == ({}, {}, 1)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"].startswith(f"gpu is left out: {type(error).__name__}")


def test_other_errors_are_not_hidden() -> None:
    """Only what is known of machines is."""
    with pytest.raises(ZeroDivisionError):
        Gauge("gpu", lambda: 1 / 0).read()
