"""What can be done with a base LLM, by its architecture."""

import pytest

from dtx_tasks.plan.architectures import unloadable, unsuited
from dtx_tasks.spec import Hyperparameters


@pytest.mark.parametrize("config", [{"model_type": "qwen2"}, {"model_type": "llava", "vision_config": {}}, {"model_type": "qwen3"}])
def test_model_that_transformers_know_can_be_loaded(config: dict[str, object]) -> None:
    """Those that only read, and those that see."""
    assert unloadable(config) is None


def test_model_that_brings_its_own_code_is_refused() -> None:
    """With the nearest that works."""
    found = unloadable({"model_type": "baichuan", "auto_map": {"AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM"}})
    assert found
    assert found.problem == "cannot be loaded: the pinned transformers have no architecture 'baichuan', and code that comes with a model is not run"
    assert found.remedy == "The nearest that can be: Qwen2.5-7B-Instruct."


def test_first_llava_is_refused() -> None:
    """Yi-VL calls itself `llava`, and its weights are laid out by code of its own."""
    found = unloadable({"model_type": "llava", "mm_vision_tower": "vit"})
    assert found
    assert found.remedy == "The nearest that can be: llava-1.5-7b-hf."


def test_architecture_that_nobody_knows_is_answered_with_the_page() -> None:
    """Its name may be wrong, or new."""
    found = unloadable({"model_type": "lama"})
    assert found
    assert found.remedy == "docs/models.md lists models that can be."


@pytest.mark.parametrize(
    ("architecture", "values", "problem"),
    [
        ("cohere", {"stage": "rm"}, "transformers have no reward model of the architecture 'cohere'"),
        ("qwen2_vl", {"stage": "dpo"}, "dpo is not tested on models that see, such as those of the architecture 'qwen2_vl'"),
        ("bloom", {"packing": True}, "rows of a packed batch see each other in the architecture 'bloom', or nobody has shown that they do not"),
    ],
)
def test_architecture_that_does_not_suit_is_told(architecture: str, values: dict[str, object], problem: str) -> None:
    """With what it is that does not go."""
    found = unsuited(architecture, Hyperparameters(**values))  # type: ignore[arg-type]
    assert found
    assert found[0] == problem


def test_what_is_tested_suits() -> None:
    """Text is learned by all of them."""
    assert unsuited("qwen2_vl", Hyperparameters()) is None
    assert unsuited("llama", Hyperparameters(packing=True)) is None
