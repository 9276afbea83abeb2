"""Training files of axolotl, as far as their keys mean the same."""

from __future__ import annotations

from pathlib import Path

from dtx_tasks.spec import FinetuneExperiment, HyperparameterGroup, SpecDocument, parse
from dtx_tasks.translate.axolotl import AXOLOTL as DIALECT
from dtx_tasks.translate.axolotl import RENAMED
from tests.unit.translate.files import AXOLOTL, told, translate


def test_ordinary_file_becomes_a_valid_experiment(tmp_path: Path) -> None:
    """QLoRA with packing, as axolotl's examples have it."""
    found = translate(AXOLOTL, tmp_path)
    parse(SpecDocument("experiment.yaml", found.experiment), FinetuneExperiment)
    matrix = found.experiment["matrix"]
    assert matrix["datasets"] == [{"name": "GPT4-LLM-Cleaned", "train": "hf://datasets/teknium/GPT4-LLM-Cleaned", "format": "alpaca"}]
    values = matrix["hyperparameters"][0]
    expected = {
        "quantization_bit": 4,
        "lora_rank": 32,
        "lora_target": "gate_proj,down_proj",
        "packing": True,
        "global_batch_size": 8,
        "num_train_epochs": 1,
        "compute_type": "bf16",
        "flash_attn": "fa2",
        "warmup_steps": 10,
        "val_size": 0.1,
    }
    assert {key: values.get(key) for key in expected} == expected


def test_every_line_is_told(tmp_path: Path) -> None:
    """An empty one too."""
    found = translate(AXOLOTL, tmp_path)
    assert [line.key for line in found.lines if line.number] == [line.partition(":")[0] for line in AXOLOTL.splitlines() if line and line[0].isalpha()]
    assert told(found, "lora_model_dir") == "not needed: it says nothing."
    assert told(found, "evals_per_epoch") == "not possible: the validation loss is measured by steps. Set eval_steps."


def test_without_an_adapter_all_weights_are_trained(tmp_path: Path) -> None:
    """Its default, and not ours."""
    found = translate("base_model: a/b\ndatasets: [{path: x/y, type: alpaca}]\nlearning_rate: 1e-5\n", tmp_path)
    assert found.experiment["matrix"]["hyperparameters"][0]["finetuning_type"] == "full"
    assert told(found, "finetuning_type") == "assumed: full, the default of axolotl."


def test_rows_of_alpaca_are_asked_as_axolotl_asks_them(tmp_path: Path) -> None:
    """By a prompt of their own, unless the file names another; one model has one prompt."""
    alpaca, turns = "{path: x/y, type: alpaca}", "{path: x/z, type: chat_template}"
    for text, template, said in (
        (f"datasets: [{alpaca}]\n", "alpaca", "translated: datasets: hf://datasets/x/y; template: alpaca of the LLM, as axolotl asks such rows"),
        (f"datasets: [{alpaca}]\nchat_template: chatml\n", "chatml", "translated: datasets: hf://datasets/x/y"),
        (f"datasets: [{alpaca}, {turns}]\n", None, "some are asked by axolotl's alpaca prompt, others are not: an LLM has one `template` here."),
    ):
        found = translate(f"base_model: a/b\n{text}", tmp_path)
        assert found.experiment["matrix"]["llms"][0].get("template") == template
        assert said in told(found, "datasets")


def test_unknown_parts_of_a_dataset_are_told(tmp_path: Path) -> None:
    """With where to write them."""
    text = "base_model: a/b\ndatasets:\n  - {path: x/y, type: chat_template, field_messages: turns, roles_to_train: [assistant], split: train}\n"
    found = translate(text, tmp_path)
    assert found.experiment["matrix"]["datasets"][0]["columns"] == {"messages": "turns"}
    assert "write it as `columns`, `tags` or another key of the Dataset" in told(found, "datasets[0].roles_to_train")
    assert "name the files of it in `train`" in told(found, "datasets[0].split")


def test_tables_name_what_exists() -> None:
    """And no key twice."""
    assert set(RENAMED.values()) <= HyperparameterGroup.model_fields.keys()
    assert len(DIALECT.keys) == len(DIALECT.meanings) + len(DIALECT.unneeded) + len(DIALECT.impossible)
