"""The resources that come with the project."""

import json
import re
from pathlib import Path

import pytest

from dtx_tasks.catalog import config_folder, load_catalog, load_families
from dtx_tasks.errors import SpecError
from dtx_tasks.plan.architectures import INSTEAD, is_loadable
from dtx_tasks.settings import bundled_folder
from dtx_tasks.spec import Family, FinetuneExperiment, load_text, parse
from tests.builders import FakeData

CONFIG = bundled_folder("config")


def test_every_bundled_resource_loads() -> None:
    """Every YAML of the configuration is right, and none of them hides another."""
    catalog = load_catalog(config_folder())
    members = {llm.name for family in load_families(CONFIG) for llm in family.llms()}
    loaded = len(catalog.llms) - len(members) + len(catalog.datasets) + len(catalog.groups) + len(catalog.scorings)
    files = [path for kind in ("models", "datasets", "hyperparameters", "scorings") for path in CONFIG.glob(f"{kind}/*.yaml")]
    assert loaded == len(files)


@pytest.mark.parametrize("path", sorted(CONFIG.glob("experiments/*.yaml")), ids=lambda path: path.name)
def test_every_example_experiment_loads(path: Path) -> None:
    """An example is called as its file is."""
    assert parse(load_text(path.read_text(), path.name), FinetuneExperiment).name == path.stem


def test_every_yaml_is_of_a_known_kind() -> None:
    """A YAML in a folder that nothing loads would be checked by nobody."""
    known = {"models", "datasets", "hyperparameters", "scorings", "experiments", "backends", "pods", "accelerate"}
    assert {path.relative_to(CONFIG).parts[0] for path in CONFIG.rglob("*.y*ml")} <= known


@pytest.mark.parametrize("path", sorted(CONFIG.rglob("*.json")), ids=lambda path: path.name)
def test_every_bundled_json_is_json(path: Path) -> None:
    """DeepSpeed would say so only when it trains."""
    assert isinstance(json.loads(path.read_text()), dict)


@pytest.mark.parametrize("kind", ["models", "datasets", "hyperparameters", "scorings"])
def test_resource_is_named_like_its_file(kind: str) -> None:
    """Whoever looks for a name finds the file."""
    catalog = load_catalog(CONFIG)
    names = {"models": catalog.llms, "datasets": catalog.datasets, "hyperparameters": catalog.groups, "scorings": catalog.scorings}[kind]
    members = {llm.name for family in load_families(CONFIG) for llm in family.llms()} if kind == "models" else set()
    assert set(names) - members == {path.stem for path in (CONFIG / kind).glob("*.yaml")}


def test_mistake_of_a_resource_names_its_file(tmp_path: Path) -> None:
    """A broken file is told by its own path."""
    path = FakeData(tmp_path).text("models/base.yaml", "name: base\nsorce: x\n")
    with pytest.raises(SpecError, match=re.escape(f"{path}:2: sorce: is not a known key (got 'x'). Did you mean 'source'?")):
        load_catalog(tmp_path)


def test_name_that_stands_in_two_files_is_refused(tmp_path: Path) -> None:
    """Which of them counts must not depend on the order of files."""
    data = FakeData(tmp_path)
    data.text("hyperparameters/a.yaml", "name: quick\n")
    second = data.text("hyperparameters/b.yaml", "name: quick\n")
    with pytest.raises(SpecError, match=re.escape(f"{second}: name: 'quick' stands in another file of this folder too. Rename one of them.")):
        load_catalog(tmp_path)


def test_folder_without_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong DTX_CONFIG is told before anything else goes wrong."""
    monkeypatch.setenv("DTX_CONFIG", str(tmp_path))
    with pytest.raises(SpecError, match=re.escape(f"{tmp_path} holds no configuration. Set DTX_CONFIG to a folder")):
        config_folder()


SEEDS = (
    "Baichuan 2, BLOOM/BLOOMZ, ChatGLM3, Command R, DeepSeek (Code/MoE), Falcon, Gemma/Gemma 2/CodeGemma, GLM-4, InternLM2/InternLM2.5, Llama, Llama 2, "
    "Llama 3-3.2, LLaVA-1.5, LLaVA-NeXT, LLaVA-NeXT-Video, MiniCPM, Mistral/Mixtral, OLMo, PaliGemma, Phi-1.5/Phi-2, Phi-3, Qwen (1-2.5) (Code/Math/MoE), "
    "Qwen2-VL, StarCoder 2, XVERSE, Yi/Yi-1.5 (Code), Yi-VL, Yuan 2"
)
"""DataTunerX's table of models."""


def test_every_family_of_the_table_of_models_is_there() -> None:
    """Each under its own name, and no member hides another LLM."""
    families = load_families(CONFIG)
    assert {family.name for family in families} == set(SEEDS.split(", "))
    names = [llm.name for family in families for llm in family.llms()] + [path.stem for path in CONFIG.glob("models/*.yaml")]
    assert len(names) == len(set(names))


def test_what_cannot_be_loaded_names_a_bundled_llm_that_can() -> None:
    """Of every family member, and of nothing that does not exist."""
    llms = load_catalog(CONFIG).llms
    for member in (member for family in load_families(CONFIG) for member in family.complete()):
        architecture = str(member.architecture)
        assert is_loadable(architecture) or is_loadable(str(llms[INSTEAD[architecture]].architecture))


def test_member_says_what_its_family_does_not() -> None:
    """What it leaves out is as its family says."""
    family = Family.model_validate_json(
        """{"name": "Both", "template": "qwen", "architecture": "qwen2", "licence": "Apache 2.0",
            "members": [{"repository": "a/small", "billions": 0.5}, {"repository": "a/large", "billions": 72, "licence": "Own", "is_gated": true}]}"""
    )
    small, large = family.llms()
    assert (small.name, small.source, small.template, small.architecture) == ("small", "hf://a/small", "qwen", "qwen2")
    assert (small.description, large.description) == ("Both, 0.5 billion parameters; Apache 2.0.", "Both, 72 billion parameters; Own, gated.")
