"""The target of a backend, measured and written into its file: planning reads it there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from dtx_tasks.errors import SpecError
from dtx_tasks.settings import bundled_folder
from dtx_tasks.spec import Target

if TYPE_CHECKING:
    from dtx_tasks.catalog.backend import Backend

PROGRAM = "dtx_tasks.train.target"
WRITTEN = re.compile(r"^target:.*\n(?:[ \t#].*\n)*", re.MULTILINE)


def measured_here() -> Target:
    """That of this machine, by a process of its own: torch is not needed for anything else here.

    Raises:
        SpecError: The trainer's libraries are not here.
    """
    ended = subprocess.run([sys.executable, "-m", PROGRAM], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SpecError(f"This machine cannot be measured: {ended.stderr.strip().splitlines()[-1:]}.", "`make install` brings torch.")
    return target_of(ended.stdout)


def target_of(said: str) -> Target:
    """What the program said in its last line.

    Args:
        said: Its output.
    """
    return Target.model_validate_json(said.strip().splitlines()[-1])


def difference(declared: Target, found: Target) -> str:
    """What the file says otherwise than the machine; empty where both agree.

    Args:
        declared: In the backend's file.
        found: On the machine.
    """
    said, seen = declared.model_dump(), found.model_dump()
    return ", ".join(f"{key} is {seen[key]} (the file says {said[key]})" for key in seen if said[key] != seen[key])


def write(backend: Backend, target: Target) -> str:
    """Puts the target into the backend's file, whose other lines stay as they are.

    Args:
        backend: Whose.
        target: What was measured.

    Returns:
        The file.

    Raises:
        SpecError: It cannot be written.
    """
    path = bundled_folder("config") / "backends" / f"{backend.name}.yaml"
    line = f"target: {json.dumps(target.model_dump(mode='json'))}\n"
    try:
        text = WRITTEN.sub("", path.read_text(encoding="utf-8"))
        path.write_text(f"{text.rstrip()}\n{line}", encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error}.", f"Put this line into it: {line}") from None
    return str(path)
