"""How `accelerate launch` is told what to start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.entrypoints.nodes import Node
from dtx_tasks.entrypoints.ranks import launch_arguments
from dtx_tasks.spec import Resources
from tests.builders import make_experiment, make_plan


def told(node: Node, **resources: Any) -> dict[str, str]:
    """The launcher's options for a pack, files by their names."""
    pack = make_plan(make_experiment()).packs[0].model_copy(update={"resources": Resources(**resources)})
    arguments = launch_arguments(pack, node)
    return {key: Path(value).name for key, value in zip(arguments[::2], arguments[1::2], strict=True)}


@pytest.mark.parametrize(
    ("resources", "accelerate", "deepspeed"),
    [
        ({}, "one.yaml", None),
        ({"processes": 2}, "ddp.yaml", None),
        ({"nodes": 2}, "ddp.yaml", None),
        ({"processes": 2, "fsdp": True}, "fsdp.yaml", None),
        ({"deepspeed": "zero1"}, "deepspeed.yaml", "zero1.json"),
        ({"processes": 2, "deepspeed": "zero3", "offload": True}, "deepspeed.yaml", "zero3-offload.json"),
    ],
)
def test_launcher_reads_the_files_of_a_strategy(resources: dict[str, Any], accelerate: str, deepspeed: str | None) -> None:
    """Those of config/accelerate and config/deepspeed, whatever lies in the home folder."""
    found = told(Node(), **resources)
    assert (found["--config_file"], found.get("--deepspeed_config_file")) == (accelerate, deepspeed)


def test_every_file_of_a_strategy_is_used() -> None:
    """And every one that is named is there."""
    each = [Resources(), Resources(processes=2), Resources(processes=2, fsdp=True)]
    each += [Resources(deepspeed=name, offload=offload) for name in ("zero1", "zero2", "zero3") for offload in (False, True)]
    pack = make_plan(make_experiment()).packs[0]
    named = {part for resources in each for part in launch_arguments(pack.model_copy(update={"resources": resources}), Node()) if "/config/" in part}
    folder = Path(next(iter(named))).parents[1]
    assert {Path(path) for path in named} == {*folder.glob("accelerate/*"), *folder.glob("deepspeed/*")}


def test_machines_meet_at_the_first_one() -> None:
    """By its name; processes are counted over all of them."""
    found = told(Node(1, "first.job", "u1"), nodes=3, processes=2)
    wanted = {"--num_machines": "3", "--num_processes": "6", "--machine_rank": "1", "--main_process_ip": "first.job", "--main_process_port": "29500"}
    assert found.items() >= wanted.items()
