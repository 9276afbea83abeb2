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
    write(tmp_path / "tuned", "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": "base"})
    return tmp_path


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def resolved(folder: Path, source: str, roots: tuple[Path | str, ...] | None = None) -> LLMSource | Mistake:
    return resolve_llm(LLM(name="mine", source=source), Allowed(folder, roots))


def found(folder: Path, source: str) -> LLMSource:
    answer = resolved(folder, source)
    assert not isinstance(answer, Mistake)
    return answer


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
        ({"peft_type": "LORA", "base_model_name_or_path": "gone"}, "its base"),
        ({"peft_type": "LORA", "base_model_name_or_path": "tuned"}, "its base is not a model"),
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
    write(folder / "tuned", "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": str(elsewhere)})
    answer = resolved(folder, "tuned", roots=(folder,))
    assert isinstance(answer, Mistake)
    assert (answer.key_path, "may" in answer.problem) == (".source", True)


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
    assert answer.problem.startswith(f"its {name} is no {'JSON' if content == '{' else 'mapping'}")


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
