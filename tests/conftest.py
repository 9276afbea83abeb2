"""What holds for every test."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator


# A shell that runs tests in its background has them ignore Ctrl-C, and so would everything that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Where DTX_FORBID_SKIPS is set, as in CI, a test that is skipped has failed: its machine lacks something."""
    report = yield
    if report.skipped and os.environ.get("DTX_FORBID_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where that is forbidden: {report.longrepr}"
    return report
