"""What can go wrong, as classes with an exit code: the failure table of docs/design.md."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class DtxError(Exception):
    """A failure that a person or a retry policy can act on.

    Args:
        message: What is wrong, in one sentence.
        hint: What to do about it; empty when there is nothing to add.
    """

    exit_code: ClassVar[int] = 70
    is_final: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class SpecError(DtxError):
    """The author's spec cannot be carried out; carries every mistake of the file at once."""

    exit_code = 78
    is_final = True

    def __init__(self, message: str, hint: str = "", mistakes: Iterable[Mistake] = ()) -> None:
        super().__init__(message, hint)
        self.mistakes = tuple(mistakes)


class DataError(DtxError):
    """The author's data cannot be used."""

    exit_code = 65
    is_final = True


class DivergedError(DtxError):
    """The loss became NaN, infinite or exploded: this job is final, its siblings go on."""

    exit_code = 76
    is_final = True


class ResourceError(DtxError):
    """Memory ran out; the next attempt uses a smaller micro batch."""

    exit_code = 77


class TransientError(DtxError):
    """Storage, network, a service or a killed process: the same again may work."""

    exit_code = 75


class HostMemoryError(ResourceError):
    """A container used more memory than its limit; the next attempt gets half as much again."""


class PreemptedError(TransientError):
    """The cluster took the machine back: nobody's fault, and it may happen often."""


class DamagedError(TransientError):
    """A file on storage is missing, or is not what its record says."""


class ExhaustedError(DtxError):
    """A retryable fault came back more often than its budget allows."""

    exit_code = 70
    is_final = True


class ClaimedError(DtxError):
    """Everything left to do is being done by somebody else: wait, this is not a failed attempt."""

    exit_code = 79


OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
"""What torch says on a GPU and on a CPU when memory runs out."""

LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "Gloo", "gloo", "Socket Timeout", "recvValue failed")
"""What torch says when another rank is gone."""

NO_OPERATOR = ("Error building extension", "Unable to JIT load", "deepspeed_shm_comm.so")
"""What torch and DeepSpeed say of an operator that could not be compiled, or that another rank could not compile."""

BY_NAME: dict[str, type[DtxError]] = {
    kind.__name__: kind
    for kind in (
        DtxError,
        SpecError,
        DataError,
        DivergedError,
        ResourceError,
        HostMemoryError,
        TransientError,
        PreemptedError,
        DamagedError,
        ExhaustedError,
        ClaimedError,
    )
}


def kind_of(error: DtxError) -> str:
    """The name by which a failure is written down: of its class, or of the nearest one above it that BY_NAME knows."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in BY_NAME)


TELLING = ("HostMemoryError", "ResourceError", "SpecError", "DivergedError", "DataError", "PreemptedError", "DtxError", "TransientError")


def how_telling(name: str) -> int:
    """The place of a failure, by its name, among those of processes that ended together: the lowest one is why the others ended too."""
    return TELLING.index(name) if name in TELLING else len(TELLING)


@dataclass(frozen=True)
class Mistake:
    """One mistake in an author's file.

    Attributes:
        key_path: Where it stands, such as `jobs[2].lora_rank`; empty for the whole file.
        problem: What is wrong, with the value that was found.
        remedy: What would be right.
        line: 1-based line in the file, or None where it is not known.
    """

    key_path: str
    problem: str
    remedy: str = ""
    line: int | None = None

    def text(self, file_name: str) -> str:
        """The line that a person reads: `<file>:<line>: <key.path>: <problem>. <remedy>`."""
        place = f"{file_name}:{self.line}" if self.line else file_name
        return ": ".join(part for part in (place, self.key_path, f"{self.problem}. {self.remedy}".strip()) if part)


def spec_error(file_name: str, mistakes: Iterable[Mistake]) -> SpecError:
    """All the mistakes of one file as one error, in file order."""
    ordered = sorted(mistakes, key=lambda mistake: mistake.line or 0)
    return SpecError("\n".join(mistake.text(file_name) for mistake in ordered), mistakes=ordered)


MOST_NAMES = 20
"""As many as a person reads through in one line."""


def nearest(name: str, known: Iterable[str], listed: str = "") -> str:
    """A remedy for an unknown name: the nearest one, and all that exist where these are not many.

    Args:
        name: What was written.
        known: What exists.
        listed: What lists all of it, where that is too much for a line: a command, or a page of the docs.
    """
    names = sorted(known)
    if not names:
        return "None is defined."
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f"Did you mean {close[0]!r}?" if close else ""
    is_short = len(names) <= MOST_NAMES or not (guess or listed)
    every = f"Known: {', '.join(names)}." if is_short else f"{listed} lists all {len(names)}." if listed else ""
    return f"{guess} {every}".strip()
