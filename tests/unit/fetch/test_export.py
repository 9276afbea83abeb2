"""Which checkpoint an export is of, and what it refuses."""

import re
from pathlib import Path

import pytest

from dtx_tasks.cli.export import export as command
from dtx_tasks.errors import SpecError
from dtx_tasks.fetch.export import export
from dtx_tasks.plan import CODE_VERSIONS
from dtx_tasks.records import LLMCheckpoint, RegisteredLLM
from dtx_tasks.storage import read_record, write_record
from tests.builders import Store, make_experiment, make_matrix, make_plan

PLAN = make_plan(make_experiment(matrix=make_matrix(hyperparameters=["g", "h"])))
FIRST, SECOND = PLAN.jobs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two trained jobs, registered one after the other under one name."""
    made = Store(tmp_path / "store", PLAN)
    for number, job in enumerate(PLAN.jobs, 1):
        made.train(job)
        record = RegisteredLLM(
            code_version=CODE_VERSIONS["register"],
            inputs={},
            digest="",
            libraries={},
            registered_name="shop",
            version=str(number + 8),
            alias="candidate",
            checkpoint_uri=f"{made.layout.job(job.job_id)}/checkpoint",
            mlflow_run_id="",
        )
        write_record(f"{made.layout.base}/experiments/x/plan-{number}/registered.json", record)
    return made


@pytest.mark.parametrize(
    ("name", "expected"), [(FIRST.job_id, FIRST), ("shop@9", FIRST), ("shop@10", SECOND), ("shop", SECOND)], ids=["job", "version", "other", "latest"]
)
def test_export_is_of_a_job_or_of_a_registered_version(name: str, expected: object, store: Store, tmp_path: Path) -> None:
    """The latest version is that of the highest number."""
    export(name, tmp_path / "model", store.layout)
    assert (tmp_path / "model" / "adapter.bin").read_text() == expected.job_id  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "store"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sop", "There is no job and no registered model 'sop'. Did you mean 'shop'?"),
        ("shop@3", "'shop' has no version 3. It has 9, 10."),
        ("0123456789abcdef", "There is no job and no registered model '0123456789abcdef'."),
    ],
)
def test_unknown_names_are_told_the_known_ones(name: str, told: str, store: Store, tmp_path: Path) -> None:
    """Nothing is written."""
    with pytest.raises(SpecError, match=re.escape(told)):
        export(name, tmp_path / "model", store.layout)
    assert not (tmp_path / "model").exists()


def test_nothing_is_overwritten(store: Store, tmp_path: Path) -> None:
    """The folder may be somebody's."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    with pytest.raises(SpecError, match="is there already"):
        export("shop", tmp_path / "model", store.layout)


def test_folder_beside_it_stays(store: Store, tmp_path: Path) -> None:
    """Nobody named it."""
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "mine").touch()
    export("shop", tmp_path / "out", store.layout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.partial", "store"]
    assert (tmp_path / "out.partial" / "mine").exists()


def test_learned_tokens_are_not_merged(store: Store, tmp_path: Path) -> None:
    """The adapter itself is named in their place."""
    uri = f"{store.layout.job(FIRST.job_id)}/result.json"
    record = read_record(uri, LLMCheckpoint)
    assert record is not None
    write_record(uri, record.model_copy(update={"finetuning_type": "prompt_tuning"}))
    with pytest.raises(SpecError, match=r"learned tokens \(prompt_tuning\).*Serve the adapter in .*/checkpoint on its base"):
        export(FIRST.job_id, tmp_path / "model", store.layout)


@pytest.mark.parametrize(("form", "told"), [("gguf", r"llama.cpp's own converter.*convert_hf_to_gguf.py model"), ("onnx", "no format 'onnx'. Use safetensors")])
def test_other_formats_are_refused_with_the_nearest_thing(form: str, told: str) -> None:
    """GGUF is a step further, by another program."""
    with pytest.raises(SpecError, match=told):
        command("shop", Path("model"), form)
