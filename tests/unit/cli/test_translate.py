"""`dtx import` as a person sees it: what was written is planned at once where its inputs exist."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.builders import FakeData
from tests.unit.cli.command import dtx, stand_in
from tests.unit.translate.files import SFT

SHARED = Path(os.environ.get("DTX_SHARED") or Path(__file__).parents[4] / "shared") / "data"
STAGES = {"dpo": "dpo_zh_demo", "kto": "kto_en_demo", "rm": "dpo_zh_demo", "pt": "c4_demo", "sft": "glaive_toolcall_en_demo"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeData:
    """A folder with a configuration, a model, and what somebody has from LLaMA-Factory."""
    data = stand_in(tmp_path, monkeypatch)
    data.model("models/base")
    data.text("data/identity.json", json.dumps([{"instruction": f"Who is {number}?", "output": "yes"} for number in range(40)]))
    data.text("data/dataset_info.json", json.dumps({"identity": {"file_name": "identity.json"}}))
    return data


def test_imported_file_is_valid(here: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """From another folder too: its paths are written anew."""
    here.text("train.yaml", SFT.replace("meta-llama/Meta-Llama-3-8B-Instruct", "models/base"))
    assert dtx(monkeypatch, "import", "train.yaml", "--out", "new/experiment.yaml", "--gpus", "2") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train.yaml:2: model_name_or_path: models/base: translated: llms: source: ../models/base"
    assert said[-1].endswith(" assumed. Next: dtx validate new/experiment.yaml")
    assert dtx(monkeypatch, "validate", "new/experiment.yaml") == 0
    assert capsys.readouterr().out.startswith("new/experiment.yaml: valid: 1 job, plan ")
    assert dtx(monkeypatch, "import", "train.yaml", "--out", "new/experiment.yaml") == 2
    assert capsys.readouterr().err == "new/experiment.yaml exists already. Choose another name by --out, or remove it first.\n"


def test_file_begins_with_what_could_not_be_carried_over(here: FakeData, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it later sees it too."""
    here.text("train.yaml", SFT)
    assert dtx(monkeypatch, "import", "train.yaml") == 0
    lines = (here.folder / "experiment.yaml").read_text().splitlines()
    assert lines[0] == "# Made by `dtx import` from train.yaml, a file of LLaMA-Factory 0.9.5."
    assert lines[1].startswith("# train.yaml:3: trust_remote_code: true: not possible: code that comes with a model is not run.")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real data is not in {SHARED}; DTX_SHARED names another folder")
@pytest.mark.parametrize("stage", STAGES)
def test_real_datasets_of_every_stage_are_planned(stage: str, here: FakeData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By their own dataset_info.json."""
    method = "finetuning_type: lora\npref_beta: 0.1\nper_device_train_batch_size: 1\ngradient_accumulation_steps: 8\n"
    here.text("train.yaml", f"model_name_or_path: models/base\nstage: {stage}\n{method}dataset: {STAGES[stage]}\ndataset_dir: {SHARED}\n")
    assert dtx(monkeypatch, "import", "train.yaml") == 0
    assert dtx(monkeypatch, "validate", "experiment.yaml") == 0, capsys.readouterr().err
