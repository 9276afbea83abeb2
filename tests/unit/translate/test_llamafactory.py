"""LLaMA-Factory's training files: every key is carried over, or it is said why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtx_tasks.errors import SpecError
from dtx_tasks.spec import FinetuneExperiment, HyperparameterGroup, SpecDocument, parse
from dtx_tasks.translate.llamafactory import LLAMAFACTORY
from tests.unit.translate.files import SFT, told, translate

KEYS = (Path(__file__).parent / "llamafactory-0.9.5.txt").read_text().split()
MINIMAL = "model_name_or_path: a/b\ndataset: rows\n"


def group(text: str, folder: Path, **ground: int) -> dict[str, object]:
    """The hyperparameters that a file comes to, beyond the smallest one."""
    return translate(MINIMAL + text, folder, **ground).experiment["matrix"]["hyperparameters"][0]  # type: ignore[no-any-return]


def test_every_key_of_llamafactory_is_in_exactly_one_table() -> None:
    """The list is of its hparams/*.py and of the arguments of transformers that it takes over."""
    tables = (LLAMAFACTORY.meanings, LLAMAFACTORY.unneeded, LLAMAFACTORY.impossible)
    assert [key for key in KEYS if sum(key in table for table in tables) != 1] == []


def test_every_key_with_the_same_name_is_a_hyperparameter() -> None:
    """A table that names one that does not exist would fail only when it is used."""
    own = {key for key in LLAMAFACTORY.meanings if key in HyperparameterGroup.model_fields}
    assert {"learning_rate", "lora_rank", "pref_beta", "quantization_bit", "save_total_limit"} <= own
    assert LLAMAFACTORY.defaults.keys() <= HyperparameterGroup.model_fields.keys()


def test_ordinary_file_becomes_a_valid_experiment(tmp_path: Path) -> None:
    """Every value that has a counterpart stands where it belongs."""
    found = translate(SFT, tmp_path, gpus=4)
    parse(SpecDocument("experiment.yaml", found.experiment), FinetuneExperiment)
    matrix = found.experiment["matrix"]
    assert matrix["llms"] == [{"name": "Meta-Llama-3-8B-Instruct", "source": "hf://meta-llama/Meta-Llama-3-8B-Instruct", "template": "llama3"}]
    assert matrix["datasets"] == ["identity"]
    assert matrix["hyperparameters"] == [
        {
            "name": "train",
            "stage": "sft",
            "finetuning_type": "lora",
            "lora_rank": 8,
            "lora_target": "all",
            "cutoff_len": 2048,
            "max_samples": 1000,
            "logging_steps": 10,
            "save_steps": 500,
            "per_device_train_batch_size": 1,
            "learning_rate": 1e-4,
            "num_train_epochs": 3.0,
            "lr_scheduler_type": "cosine",
            "warmup_ratio": 0.1,
            "compute_type": "bf16",
            "val_size": 0.1,
            "eval_steps": 500,
            "global_batch_size": 32,
        }
    ]
    assert found.experiment["resources"] == {"processes": 4, "deepspeed": "zero3"}
    assert found.experiment["selection"] == {"metric": "perplexity"}


def test_every_line_is_told_once_with_its_number(tmp_path: Path) -> None:
    """Nothing is dropped silently."""
    found = translate(SFT, tmp_path)
    written = [(number, line.partition(":")[0]) for number, line in enumerate(SFT.splitlines(), 1) if line and not line.startswith("#")]
    assert [(line.number, line.key) for line in found.lines if line.number] == written


def test_batch_is_the_product_and_says_what_was_assumed(tmp_path: Path) -> None:
    """A training file does not say on how many GPUs it runs."""
    found = translate(MINIMAL + "per_device_train_batch_size: 2\ngradient_accumulation_steps: 4\n", tmp_path, nodes=2, gpus=3)
    assert told(found, "global_batch_size").startswith("assumed: 48 = 2 rows x 4 steps of accumulation x 6 GPUs")
    assert found.experiment["resources"] == {"nodes": 2, "processes": 3}


def test_defaults_that_differ_are_written_out(tmp_path: Path) -> None:
    """What the file leaves to LLaMA-Factory is not left to other defaults."""
    values = group("", tmp_path)
    assert {key: values[key] for key in ("learning_rate", "lr_scheduler_type", "cutoff_len", "global_batch_size")} == {
        "learning_rate": 5e-5,
        "lr_scheduler_type": "linear",
        "cutoff_len": 2048,
        "global_batch_size": 8,
    }


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("template: qwen", "template", "translated: llms: template: qwen"),
        (
            "template: qwen3_nothink",
            "template",
            "not possible: there is no template 'qwen3_nothink' here (docs/templates.md lists them); the model's own is used",
        ),
        ("deepspeed: ds_z1_config.json", "deepspeed", "resources: deepspeed: zero1; config/deepspeed/zero1.json is used"),
        ("deepspeed: ds_z2_offload_config.json", "deepspeed", "resources: deepspeed: zero2, offload: true; config/deepspeed/zero2-offload.json is used"),
        ("fsdp: full_shard auto_wrap offload", "fsdp", "resources: fsdp: true (FSDP2); config/accelerate/fsdp.yaml is used. FSDP's offloading is not offered"),
        ("fsdp: no_shard", "fsdp", "not needed: nothing is sharded by it."),
        ("load_best_model_at_end: true", "load_best_model_at_end", "translated: load_best_model_at_end: true"),
        ("deepspeed: mine.json", "deepspeed", "not possible: the file is not here and its name does not tell the ZeRO stage (got 'mine.json')."),
        ("output_dir: saves/x", "output_dir", "not needed: what a job makes lies below the storage root by its content, and replaces nothing."),
        (
            "use_unsloth: true",
            "use_unsloth",
            "not possible: unsloth cannot be installed beside today's TRL. On a GPU use enable_liger_kernel and flash_attn: fa2.",
        ),
        ("use_unsloth: false", "use_unsloth", "not needed: it changes nothing there either."),
        ("adam_beta2: 0.999", "adam_beta2", "not needed: it changes nothing there either."),
        ("adam_beta2: 0.95", "adam_beta2", "not possible: betas and epsilon are the optimiser's own defaults."),
        ("galore_rank: 64", "galore_rank", "not needed: it counts with use_galore alone."),
        ("quantization_bit: 3", "quantization_bit", "not possible: quantization_bit is not one of the choices (got 3)."),
        ("save_steps: 0.1", "save_steps", "not possible: save_steps must be a whole number (got 0.1)."),
        ("simpo_gamma: 0.4", "simpo_gamma", "not needed: simpo_gamma has no effect with stage: sft."),
        ("eval_strategy: epoch", "eval_strategy", "not possible: the validation loss is measured by steps. Set eval_steps."),
        ("eval_steps: 50", "eval_steps", "not needed: does not count with eval_strategy: no."),
        ("packing: true", "packing", "translated: packing: true; each row sees only itself, as with neat_packing"),
        ("warmup_steps: 0.1", "warmup_steps", "translated: warmup_ratio: 0.1"),
        ("finetuning_type: oft", "finetuning_type", "not possible: OFT is not trained here. Written as finetuning_type: lora, the nearest."),
        ("stage: ppo", "stage", "not possible: PPO is gone from TRL since 1.13. Written as stage: rloo"),
        ("adapter_name_or_path: saves/x", "adapter_name_or_path", "not possible: there is no such folder here (got 'saves/x'). Name that of one adapter"),
        ("max_samples: 0", "max_samples", "not possible: max_samples must be at least 1 (got 0)"),
        ("cutof_len: 3", "cutof_len", "not possible: is not a key of LLaMA-Factory 0.9.5 that is known here. Did you mean 'cutoff_len'?"),
    ],
)
def test_key_is_told(text: str, key: str, said: str, tmp_path: Path) -> None:
    """With its counterpart, or why there is none and what is nearest."""
    assert said in told(translate(f"{MINIMAL}{text}\n", tmp_path), key)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("stage: dpo\npref_loss: simpo\nsimpo_gamma: 0.4", {"stage": "simpo", "simpo_gamma": 0.4}),
        ("pref_loss: orpo\nstage: dpo", {"stage": "orpo"}),
        ("stage: dpo\npref_loss: ipo\npref_beta: 0.2", {"stage": "dpo", "pref_loss": "ipo", "pref_beta": 0.2}),
        ("pissa_init: true\npissa_iter: 4", {"init_lora_weights": "pissa", "pissa_iter": 4}),
        ("disable_gradient_checkpointing: true", {"gradient_checkpointing": False}),
        ("pure_bf16: true\nbf16: true", {"compute_type": "pure_bf16"}),
        ("stage: pt", {"packing": True}),
        ("stage: pt\npacking: false", {"packing": False}),
        ("quantization_bit: 4\nquantization_method: bitsandbytes", {"quantization_bit": 4, "quantization_method": "bnb"}),
        ("flash_attn: disabled", {"flash_attn": "eager"}),
        ("finetuning_type: full\nuse_galore: true\ngalore_layerwise: true\ngalore_rank: 64", {"optim": "galore_adamw_layerwise"}),
        ("finetuning_type: full\nuse_galore: true", {"optim_args": "rank=16, update_proj_gap=200, scale=2.0, proj_type=std"}),
        ("val_size: 200", {"val_size": 200}),
        ("stage: ppo\nreward_model: rm\nmax_new_tokens: 64", {"stage": "rloo", "reward_model": "rm", "max_new_tokens": 64}),
    ],
)
def test_keys_together_come_to_hyperparameters(text: str, values: dict[str, object], tmp_path: Path) -> None:
    """In whatever order they stand."""
    found = group(f"{text}\n", tmp_path)
    assert {key: found.get(key) for key in values} == values


def test_kto_of_one_row_a_pass_leaves_that_to_the_platform(tmp_path: Path) -> None:
    """LLaMA-Factory's example has 1, and TRL compares an answer with its neighbour in the batch."""
    values = group("stage: kto\nper_device_train_batch_size: 1\ngradient_accumulation_steps: 8\n", tmp_path)
    assert ("per_device_train_batch_size" in values, values["global_batch_size"]) == (False, 8)


def test_reward_model_is_judged_by_pairs(tmp_path: Path) -> None:
    """Nothing else can be measured of one."""
    assert translate(f"{MINIMAL}stage: rm\n", tmp_path).experiment["selection"] == {"metric": "pairwise_accuracy"}


def test_generated_answers_are_judged_as_such(tmp_path: Path) -> None:
    """`predict_with_generate` asks for it."""
    found = translate(f"{MINIMAL}predict_with_generate: true\nmax_new_tokens: 64\n", tmp_path).experiment
    assert (found["selection"]["metric"], found["scoring"]["max_new_tokens"]) == ("rougeL", 64)


def test_deepspeeds_file_is_read_where_it_is(tmp_path: Path) -> None:
    """Its name may say nothing."""
    (tmp_path / "mine.json").write_text(json.dumps({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}))
    found = translate(f"{MINIMAL}deepspeed: mine.json\n", tmp_path)
    assert found.experiment["resources"] == {"deepspeed": "zero2", "offload": True}
    assert "zero2-offload.json" in told(found, "deepspeed")


def test_registry_defines_the_datasets(tmp_path: Path) -> None:
    """Each is a job's of its own, with the rows that the file allows, and some are held out where it says nothing."""
    (tmp_path / "data").mkdir()
    rows = json.dumps([{"instruction": f"{number}", "output": "yes"} for number in range(20)])
    for name in ("a.json", "b.json"):
        (tmp_path / "data" / name).write_text(rows)
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps({"one": {"file_name": "a.json"}, "two": {"file_name": "b.json"}}))
    found = translate("model_name_or_path: a/b\ndataset: one, two\nmax_samples: 9\n", tmp_path)
    assert found.experiment["matrix"]["datasets"] == [
        {"name": "one", "format": "alpaca", "train": "data/a.json", "validation": 0.1},
        {"name": "two", "format": "alpaca", "train": "data/b.json", "validation": 0.1},
    ]
    assert found.experiment["matrix"]["hyperparameters"][0]["max_samples"] == 9
    assert told(found, "dataset").startswith("not possible: datasets: one, two: a job each, since they are not learned together.")
    found = translate("model_name_or_path: a/b\neval_dataset: two\ndataset: one\n", tmp_path)
    assert found.experiment["matrix"]["datasets"] == [{"name": "one", "format": "alpaca", "train": "data/a.json", "validation": "data/b.json"}]
    found = translate("model_name_or_path: a/b\ndataset: ome\n", tmp_path)
    assert told(found, "ome").startswith("not possible: is not in dataset_info.json. Did you mean 'one'?")


def test_adapter_is_trained_further_as_it_is(tmp_path: Path) -> None:
    """What the file says of a new one counts for nothing there, and is left out."""
    (tmp_path / "saves").mkdir()
    text = f"{MINIMAL}adapter_name_or_path: saves\nlora_rank: 4\npissa_init: true\npissa_iter: 4\nloraplus_lr_ratio: 8\n"
    found = translate(text, tmp_path)
    matrix = found.experiment["matrix"]
    assert (matrix["llms"][0]["source"], matrix["llms"][0]["adapter"]) == ("saves", "continue")
    assert matrix["hyperparameters"][0].keys() & {"lora_rank", "init_lora_weights", "pissa_iter", "loraplus_lr_ratio"} == {"loraplus_lr_ratio"}
    assert told(found, "adapter_name_or_path") == "translated: llms: source: saves, adapter: continue"
    assert told(found, "lora_rank") == "not needed: lora_rank is that of the adapter, which is trained further."


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("base", "said"),
    [("a/b", "translated: llms: base: hf://a/b;"), ("/models/llama", "not possible: there is no such folder here (got '/models/llama'). Correct `base`")],
)
def test_base_of_an_adapter_is_named_beside_it(tmp_path: Path, base: str, said: str, order: int) -> None:
    """The adapter's own file may name a place of another machine; in whichever order the two are written."""
    (tmp_path / "saves").mkdir()
    found = translate("".join([f"model_name_or_path: {base}\n", "adapter_name_or_path: saves\n"][::order]) + "dataset: some\n", tmp_path)
    (llm,) = found.experiment["matrix"]["llms"]
    assert (llm["source"], llm["base"], llm["adapter"]) == ("saves", base if base.startswith("/") else f"hf://{base}", "continue")
    assert told(found, "model_name_or_path").startswith(said)


def test_adapter_is_merged_where_a_new_one_is_begun(tmp_path: Path) -> None:
    """The new one is as the file says."""
    (tmp_path / "saves").mkdir()
    found = translate(f"{MINIMAL}adapter_name_or_path: saves\ncreate_new_adapter: true\nlora_rank: 4\n", tmp_path)
    matrix = found.experiment["matrix"]
    assert (matrix["llms"][0]["source"], matrix["llms"][0].get("adapter")) == ("saves", None)
    assert matrix["hyperparameters"][0]["lora_rank"] == 4


def test_secret_is_not_repeated(tmp_path: Path) -> None:
    """Neither in the words nor in the file."""
    found = translate(f"{MINIMAL}hf_hub_token: hf_abcdef\n", tmp_path)
    assert "hf_abcdef" not in found.as_text("train.yaml") + "".join(line.text("train.yaml") for line in found.lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: FinetuneExperiment\n", "is no training file that is known: it has neither model_name_or_path (LLaMA-Factory 0.9.5) nor base_model (axolotl)"),
        ("model_name_or_path: a/b\nexport_dir: out\n", "names no dataset that could be learned from"),
    ],
)
def test_file_that_trains_nothing_is_refused(text: str, said: str, tmp_path: Path) -> None:
    """Such as one for exporting."""
    with pytest.raises(SpecError) as refused:
        translate(text, tmp_path)
    assert said in str(refused.value)
