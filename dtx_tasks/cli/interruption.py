"""What is true of a command that Ctrl-C or SIGTERM has ended."""

from __future__ import annotations

from dtx_tasks.errors import DtxError


class InterruptedCommandError(DtxError):
    """A person ended a command; the text says what becomes of what it began."""
