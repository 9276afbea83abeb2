"""From the text of a spec to a plan."""

import re
from pathlib import Path

import pytest

from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.errors import SpecError
from dtx_tasks.records import ExperimentPlan
from dtx_tasks.resolve import Origin
from dtx_tasks.spec import load_text
from tests.builders import FakeData
from tests.unit.translate.files import AXOLOTL, SFT

TEXT = "name: x\nmatrix:\n  llms: [base]\n  datasets: [rows]\n  hyperparameters:\n    - quick\n    - slow\n"


def plan(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> ExperimentPlan:
    monkeypatch.setenv("DTX_CONFIG", str(FakeData(folder).config()))
    return plan_document(load_text(text, "e.yaml"), Origin(folder))


def test_text_comes_to_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the values of the catalog."""
    assert [job.num_steps for job in plan(tmp_path, TEXT, monkeypatch).jobs] == [4, 8]


def test_what_cannot_be_found_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes of every kind stand beside each other, in file order."""
    text = TEXT.replace("slow", "slov").replace("[rows]", "[row]")
    with pytest.raises(SpecError) as caught:
        plan(tmp_path, text, monkeypatch)
    assert [line.split(": there is")[0] for line in str(caught.value).splitlines()] == ["e.yaml:4: matrix.datasets[0]", "e.yaml:7: matrix.hyperparameters[1]"]


def test_rule_that_excludes_nothing_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the matrix knows, too."""
    with pytest.raises(SpecError, match=re.escape("e.yaml:9: matrix.exclude[0]: excludes nothing (got {'llm': 'bose'}).")):
        plan(tmp_path, f"{TEXT}  exclude:\n    - llm: bose\n", monkeypatch)


@pytest.mark.parametrize(("text", "program", "mark"), [(SFT, "LLaMA-Factory", "model_name_or_path"), (AXOLOTL, "axolotl", "base_model")])
def test_training_file_of_another_program_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, program: str, mark: str) -> None:
    """With what makes an experiment of it."""
    with pytest.raises(SpecError) as caught:
        plan(tmp_path, text, monkeypatch)
    said = f"e.yaml: is a training file of {program} ({mark} stands at its top), not an experiment. `dtx import e.yaml` makes an experiment of it."
    assert str(caught.value) == said


def test_mistake_of_the_catalog_is_not_the_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by the catalog's own file."""
    path = FakeData(tmp_path).text("config/models/bad.yaml", "name: bad\nsorce: x\n")
    with pytest.raises(SpecError, match=re.escape(f"{path}:2: sorce: is not a known key")) as caught:
        plan(tmp_path, TEXT, monkeypatch)
    assert "e.yaml" not in str(caught.value)
