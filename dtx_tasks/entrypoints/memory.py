"""Whether the kernel has killed for want of memory: it tells nobody else."""

from __future__ import annotations

import re
from pathlib import Path

PLACES = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of this container's control group, version 2 and 1. Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst."""


def num_oom_kills() -> int:
    """Processes of this container that were killed because its memory was used up; 0 where the kernel does not say."""
    found = (re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE) for path in PLACES if path.exists())
    return sum(int(match[1]) for match in found if match)
