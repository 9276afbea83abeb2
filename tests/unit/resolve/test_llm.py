"""What may stand behind an LLM: a model, an adapter on one, or a recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dtx_tasks.errors import Mistake
from dtx_tasks.resolve.files import Allowed
from dtx_tasks.resolve.llm import resolve_llm
from dtx_tasks.spec import LLM

if TYPE_CHECKING:
    from pathlib import Path

    from dtx_tasks.records import LLMSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, and with an adapter on it."""
    write(tmp_path / "base", "config.json", {"model_type": "llama"})
    write(tmp_path / "base", "model.safetensors", {})
    write(tmp_path / "tuned", "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "base"})
    return tmp_path


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def resolved(folder: Path, source: str, roots: tuple[Path | str, ...] | None = None, **written: Any) -> LLMSource | Mistake:
    return resolve_llm(LLM(name="mine", source=source, **written), Allowed(folder, roots))


def found(folder: Path, source: str, **written: Any) -> LLMSource:
    answer = resolved(folder, source, **written)
    assert not isinstance(answer, Mistake)
    return answer


def refused(folder: Path, source: str, **written: Any) -> str:
    answer = resolved(folder, source, **written)
    assert isinstance(answer, Mistake)
    return f"{answer.key_path}: {answer.problem}. {answer.remedy}"


def test_adapter_is_known_by_its_own_files_and_by_those_of_its_base(folder: Path) -> None:
    """A change of either is another model."""
    first = found(folder, "tuned")
    assert (first.kind, first.base) == ("adapter", str(folder / "base"))
    write(folder / "base", "config.json", {"model_type": "llama", "hidden_size": 8})
    second = found(folder, "tuned")
    write(folder / "tuned", "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "base", "r": 4})
    assert len({first.llm_id, second.llm_id, found(folder, "tuned").llm_id}) == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "PREFIX_TUNING", "base_model_name_or_path": "base"}, "learned tokens"),
        ({"peft_type": "LORA"}, "does not name its base"),
        ({"peft_type": "LORA", "base_model_name_or_path": "gone"}, "whose base cannot be used: is not there (got 'gone')"),
        ({"peft_type": "LORA", "base_model_name_or_path": "tuned"}, "whose base cannot be used: is not a model in Hugging Face layout (got 'tuned')"),
    ],
)
def test_adapter_that_cannot_be_merged_is_told(folder: Path, config: dict[str, Any], said: str) -> None:
    """With what is the matter with it."""
    write(folder / "tuned", "adapter_config.json", config)
    answer = resolved(folder, "tuned")
    assert isinstance(answer, Mistake)
    assert said in answer.problem


def test_adapter_of_a_request_may_not_lead_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What it names as its base is a path like any other."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, "config.json", {})
    write(elsewhere, "model.safetensors", {})
    write(folder / "tuned", "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": str(elsewhere)})
    answer = resolved(folder, "tuned", roots=(folder,))
    assert isinstance(answer, Mistake)
    assert (answer.key_path, "may" in answer.problem) == (".source", True)


def test_base_of_an_adapter_is_where_one_says(folder: Path) -> None:
    """In place of what the adapter names: it was trained on another machine."""
    write(folder / "tuned", "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "/home/ann/llama"})
    said = "is an adapter whose base cannot be used: is not there (got '/home/ann/llama'). Looked for /home/ann/llama. `base` of the LLM says where it is."
    assert refused(folder, "tuned") == f".source: {said}"
    assert found(folder, "tuned", base="base").base == str(folder / "base")
    assert refused(folder, "tuned", base="elsewhere").startswith(".base: is not there (got 'elsewhere')")
    assert refused(folder, "base", base="base").startswith(".base: is of a source that is an adapter, and this is a model (got 'base')")


GIVEN = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": 4, "lora_alpha": 6, "target_modules": ["v_proj", "q_proj"]}


def test_adapter_that_is_trained_further_keeps_what_it_is(folder: Path) -> None:
    """Its own file says so, under the names of hyperparameters; merged it is another model."""
    write(folder / "tuned", "adapter_config.json", {**GIVEN, "use_dora": True, "modules_to_save": ["lm_head"]})
    continued, merged = found(folder, "tuned", adapter="continue"), found(folder, "tuned", adapter="merge")
    assert (continued.kind, continued.base) == ("continued", str(folder / "base"))
    assert continued.adapter == {
        "lora_rank": 4,
        "lora_alpha": 6,
        "lora_dropout": 0.0,
        "lora_target": "q_proj,v_proj",
        "additional_target": "lm_head",
        "use_rslora": False,
        "use_dora": True,
        "init_lora_weights": "default",
    }
    assert (merged.kind, merged.adapter) == ("adapter", None)
    assert merged == found(folder, "tuned")
    assert merged.llm_id != continued.llm_id


def test_head_of_an_adapter_that_rates_is_no_additional_target(folder: Path) -> None:
    """PEFT adds it by itself, under two names."""
    write(folder / "tuned", "adapter_config.json", {**GIVEN, "task_type": "SEQ_CLS", "modules_to_save": ["score", "classifier", "score"]})
    continued = found(folder, "tuned", adapter="continue")
    assert continued.adapter is not None
    assert (continued.is_reward, continued.adapter["additional_target"]) == (True, None)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "is of another method (IA3)"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "is made for another task (SEQ_2_SEQ_LM)"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes its base (init_lora_weights: pissa_niter_4)"),
        ({"bias": "all"}, "has biases (bias: all)"),
        ({"rank_pattern": {"q_proj": 2}}, "has rank_pattern"),
    ],
)
def test_adapter_that_is_not_trained_further_is_told(folder: Path, config: dict[str, Any], said: str) -> None:
    """Merged it can be."""
    write(folder / "tuned", "adapter_config.json", {**GIVEN, **config})
    line = f".adapter: continue trains a plain LoRA adapter further, and this one {said}. Use `adapter: merge`, and begin a new one."
    assert refused(folder, "tuned", adapter="continue") == line
    assert found(folder, "tuned").kind == "adapter"


@pytest.mark.parametrize(
    ("config", "said"), [({"r": 2048}, "lora_rank no group could have (it is 2048)"), ({"target_modules": [1]}, "lora_target no group could have (it is [1])")]
)
def test_adapter_with_values_that_no_group_has_is_told(folder: Path, config: dict[str, Any], said: str) -> None:
    """What a job is trained with stands in its document."""
    write(folder / "tuned", "adapter_config.json", {**GIVEN, **config})
    assert refused(folder, "tuned", adapter="continue").startswith(f".adapter: continues an adapter whose {said}")


@pytest.mark.parametrize("use", ["merge", "continue"])
def test_use_of_an_adapter_beside_a_model_is_told(folder: Path, use: str) -> None:
    """It would change nothing."""
    assert refused(folder, "base", adapter=use) == f".adapter: is of a source that is an adapter, and this is a model (got {use!r}). Leave it out."


def test_model_without_weights_is_told(folder: Path) -> None:
    """Before anything is prepared for it."""
    (folder / "base" / "model.safetensors").unlink()
    assert refused(folder, "base").startswith(".source: has no weights that are read here (got 'base'). They are called model*.safetensors or ")


@pytest.mark.parametrize(("source", "said"), [("ftp://org/model", "cannot be reached"), ("made:tiny-tset", "no recipe"), ("tuned/x", "not there")])
def test_source_that_is_nowhere_is_told(folder: Path, source: str, said: str) -> None:
    """At its place in the file."""
    answer = resolved(folder, source)
    assert isinstance(answer, Mistake)
    assert said in answer.problem


@pytest.mark.parametrize(("name", "content"), [("adapter_config.json", "{"), ("adapter_config.json", "[]"), ("config.json", "{"), ("config.json", "[]")])
def test_description_that_cannot_be_read_is_told(folder: Path, name: str, content: str) -> None:
    """Of an adapter, and of its base."""
    (folder / ("tuned" if name == "adapter_config.json" else "base") / name).write_text(content)
    answer = resolved(folder, "tuned")
    assert isinstance(answer, Mistake)
    assert f"its {name} is no {'JSON' if content == '{' else 'mapping'}" in answer.problem


REWARD_CONFIG = {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}


@pytest.mark.parametrize(
    ("task", "base", "is_reward"),
    [("CAUSAL_LM", {"model_type": "llama"}, False), ("SEQ_CLS", {"model_type": "llama"}, True), ("CAUSAL_LM", REWARD_CONFIG, True)],
)
def test_model_that_rates_is_known_by_its_head(folder: Path, task: str, base: dict[str, Any], is_reward: bool) -> None:
    """Its own, that of an adapter, or that of an adapter's base."""
    write(folder / "base", "config.json", base)
    write(folder / "tuned", "adapter_config.json", {"peft_type": "LORA", "task_type": task, "base_model_name_or_path": "base"})
    assert found(folder, "tuned").is_reward == is_reward
    assert found(folder, "base").is_reward == (base == REWARD_CONFIG)
