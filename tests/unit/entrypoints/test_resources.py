"""Named resources, from the text of a definition to a version that experiments use."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog import DATASETS, GROUPS, LLMS, PARAMETERS, SCORINGS, Kind, Version
from dtx_tasks.entrypoints.documents import note_run, write_plan
from dtx_tasks.entrypoints.planning import plan_document
from dtx_tasks.entrypoints.resources import (
    bundled_digest,
    create_resource,
    delete_resource,
    edit_resource,
    list_resources,
    resource_versions,
    show_resource,
)
from dtx_tasks.errors import SpecError
from dtx_tasks.records import ExperimentPlan
from dtx_tasks.resolve import Origin
from dtx_tasks.spec import SpecDocument, load_text
from tests.builders import FakeData
from tests.plugins import Packages

ROWS = {"name": "mine", "train": "mine.train.jsonl", "validation": "mine.validation.jsonl", "test": "mine.test.jsonl"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, a store, a database to be, and the files of a Dataset."""
    data = FakeData(tmp_path)
    data.splits("mine")
    monkeypatch.setenv("DTX_CONFIG", str(data.config()))
    monkeypatch.setenv("DTX_HOME", str(tmp_path / "home"))
    for name in ("DTX_ROOT", "DTX_CATALOG_URL", "DTX_SCHEDULES", "DTX_DATA_ROOTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def document(data: dict[str, Any]) -> SpecDocument:
    return load_text(json.dumps(data), "mine.json")


def create(here: Path, kind: Kind = DATASETS, **changes: Any) -> Version:
    data = {**(ROWS if kind == DATASETS else {"name": "mine"}), **changes}
    return create_resource(kind, document(data), Origin(here), team="default", author="ann").version


def edit(here: Path, based_on: int, kind: Kind = DATASETS, **changes: Any) -> Version:
    data = {**(ROWS if kind == DATASETS else {"name": "mine"}), **changes}
    return edit_resource(kind, "mine", document(data), Origin(here), based_on=based_on, team="default", author="ann").version


def plan(here: Path, *, roots: tuple[Path, ...] | None = None, **axes: Any) -> ExperimentPlan:
    matrix = {"llms": ["base"], "datasets": ["mine"], "hyperparameters": ["quick"], **axes}
    return plan_document(SpecDocument("e.yaml", {"name": "x", "matrix": matrix}), Origin(here, roots))


def used(plan: ExperimentPlan) -> list[str]:
    return [f"{version.kind} {version.name}@{version.version}" for version in plan.versions]


def test_paths_are_kept_absolute(here: Path) -> None:
    """Other commands run in other folders."""
    assert create(here).content["train"] == str(here / "mine.train.jsonl")
    model = FakeData(here).model("model")
    assert create(here, LLMS, source="model").content["source"] == str(model)
    FakeData(here).text("tuned/adapter_config.json", '{"peft_type": "LORA"}')
    assert create(here, LLMS, name="tuned", source="tuned", base="model").content["base"] == str(model)
    assert create(here, LLMS, name="made", source="made:tiny-test").content["source"] == "made:tiny-test"
    reward_in(here / "reward")
    assert create(here, GROUPS, **BY_REWARD, reward_model="reward").content["reward_model"] == str(here / "reward")


def test_link_stays_a_link(here: Path) -> None:
    """What it leads to may change, and that is then a new version."""
    (here / "link.jsonl").symlink_to(here / "mine.train.jsonl")
    assert create(here, train="link.jsonl").content["train"] == str(here / "link.jsonl")


def test_definition_is_checked_before_it_is_saved(here: Path) -> None:
    """Every mistake of a kind, with its place; nothing is saved."""
    with pytest.raises(SpecError, match=re.escape("mine.json: train: is not there (got ")):
        create(here, train="none.jsonl")
    with pytest.raises(SpecError, match=re.escape("mine.json: source: there is no recipe of this name (got 'tiny')")):
        create(here, LLMS, source="made:tiny")
    with pytest.raises(SpecError, match=re.escape("mine.json: extends: there is no HyperparameterGroup of this name (got 'none')")):
        create(here, GROUPS, extends="none")
    with pytest.raises(SpecError, match=re.escape("mine.json: name: is missing. A named resource has a name.")):
        create_resource(SCORINGS, document({"max_new_tokens": 3}), Origin(here), team="default", author="ann")
    assert [item.name for kind in (DATASETS, LLMS, GROUPS, SCORINGS) for item in list_resources(kind, team="default") if item.version] == []


def test_bad_rows_are_told_and_saved(here: Path) -> None:
    """As the plan does it: the file may be mended under the same name."""
    FakeData(here).text("mine.train.jsonl", "nonsense\n")
    saved = create_resource(DATASETS, document(ROWS), Origin(here), team="default", author="ann")
    assert "mine.train.jsonl" in saved.problem


def test_request_may_name_only_what_it_may_read(here: Path) -> None:
    """A page hands the same roots over as a request for a run."""
    with pytest.raises(SpecError, match="lies outside the folders that requests may read"):
        create_resource(DATASETS, document(ROWS), Origin(here, (here / "uploads",)), team="default", author="ann")


@pytest.mark.parametrize(("kind", "name"), [(DATASETS, "rows"), (LLMS, "base"), (GROUPS, "quick")])
def test_bundled_one_is_read_only(here: Path, kind: Kind, name: str) -> None:
    """It cannot be hidden, edited or deleted; it can be shown, to make one's own from it."""
    content, version = show_resource(kind, name, team="default")
    assert version is None
    with pytest.raises(SpecError, match=re.escape(f"mine.json: name: is the name of a bundled {kind.name} (got {name!r})")):
        create_resource(kind, document(content), Origin(here), team="default", author="ann")
    with pytest.raises(SpecError, match=re.escape(f"{kind.name} {name!r} is bundled and read-only.")):
        edit_resource(kind, name, document(content), Origin(here), based_on=1, team="default", author="ann")
    with pytest.raises(SpecError, match=re.escape(f"{kind.name} {name!r} is bundled and read-only.")):
        delete_resource(kind, name, team="default")
    assert create_resource(kind, document({**content, "name": "mine"}), Origin(None), team="default", author="ann").is_new


def test_version_of_a_bundled_one_is_its_content(here: Path) -> None:
    """Plans say the same; a changed file changes it."""
    before = bundled_digest(DATASETS, "rows")
    assert before in {version.digest for version in plan(here, datasets=["rows"]).versions}
    FakeData(here).jsonl("config/datasets/rows/rows.train.jsonl", 5)
    assert bundled_digest(DATASETS, "rows") != before


def test_edit_does_not_rename(here: Path) -> None:
    """What refers to the old name would have nothing."""
    create(here)
    with pytest.raises(SpecError, match=re.escape("mine.json: name: an edit does not rename (got 'other'). Write 'mine', or create the new one")):
        edit(here, 1, name="other")


def test_circle_of_groups_is_refused(here: Path) -> None:
    """By the edit that would close it."""
    create(here, GROUPS)
    create(here, GROUPS, name="second", extends="mine")
    with pytest.raises(SpecError, match=re.escape("mine.json: extends: goes in a circle through 'mine'")):
        edit(here, 1, GROUPS, extends="second")


def test_list_is_of_both_and_by_name(here: Path) -> None:
    """With the version of the user's own."""
    create(here, description="few")
    assert [(item.name, item.description, item.version and item.version.number) for item in list_resources(DATASETS, team="default")] == [
        ("mine", "few", 1),
        ("rows", "", None),
    ]


def test_unknown_name_and_version_are_told(here: Path) -> None:
    """With what there is."""
    create(here)
    with pytest.raises(SpecError, match=re.escape("There is no Dataset of this name (got 'mime'). Did you mean 'mine'? Known: mine, rows.")):
        resource_versions(DATASETS, "mime", team="default")
    with pytest.raises(SpecError, match=re.escape("Dataset 'mine' has no version 3. It has: 1.")):
        show_resource(DATASETS, "mine", 3, team="default")


def test_plan_records_what_it_used(here: Path) -> None:
    """Each named resource once, with what a group extends; the ids of jobs are those of the content."""
    create(here)
    create(here, GROUPS, extends="quick")
    found = plan(here, hyperparameters=["mine", {"name": "in place", "extends": "mine", "lora_rank": 3}])
    assert used(found) == ["LLM base@None", "Dataset mine@1", "HyperparameterGroup mine@1", "HyperparameterGroup quick@None"]
    assert found.versions[1].digest == resource_versions(DATASETS, "mine", team="default")[0].digest
    in_place = plan(here, datasets=[ROWS], hyperparameters=[{"name": "g", "extends": "quick"}])
    assert [job.job_id for job in in_place.jobs] == [found.jobs[0].job_id]
    assert used(in_place) == ["LLM base@None", "HyperparameterGroup quick@None"]


def test_run_records_what_it_used(here: Path) -> None:
    """A later plan with the same content may have other versions."""
    create(here)
    first = plan(here)
    note_run(first, str(here / "home/store"), "dag", "run 1")
    edit(here, 1, description="another word")
    second = plan(here)
    assert second.plan_id == first.plan_id
    assert note_run(second, str(here / "home/store"), "dag", "run 1").versions == first.versions
    assert note_run(second, str(here / "home/store"), "dag", "run 2").versions == second.versions


def test_changed_file_is_a_new_version(here: Path) -> None:
    """Recorded by the experiment that finds it, once, with the reason."""
    create(here)
    first = plan(here)
    FakeData(here).jsonl("mine.train.jsonl", 5)
    second = plan(here)
    assert (used(plan(here)), used(second), used(first)) == ([*used(first)[:1], "Dataset mine@2", used(first)[2]], used(plan(here)), used(first))
    versions = resource_versions(DATASETS, "mine", team="default")
    assert [(version.number, version.note, version.author) for version in versions] == [(2, "files changed", "a plan of x"), (1, "", "ann")]
    assert second.versions[1].digest == versions[0].digest
    assert versions[0].content == versions[1].content


def test_changed_weights_are_a_new_version(here: Path) -> None:
    """The same for the folder of an LLM."""
    FakeData(here).model("model")
    create(here, LLMS, source="model")
    FakeData(here).text("model/model.safetensors", "others")
    assert used(plan(here, llms=["mine"], datasets=["rows"]))[0] == "LLM mine@2"


def test_definition_in_place_counts_before_a_name_that_is_taken_twice(here: Path) -> None:
    """Nobody asked the catalog for it."""
    create(here, GROUPS)
    FakeData(here).text("config/hyperparameters/mine.yaml", "name: mine\n")
    assert used(plan(here, datasets=["rows"], hyperparameters=[{"name": "mine", "lora_rank": 3}])) == ["LLM base@None", "Dataset rows@None"]
    with pytest.raises(SpecError, match="HyperparameterGroup 'mine' is both in config/ and your own"):
        plan(here, datasets=["rows"], hyperparameters=["mine"])


def test_version_can_be_asked_for(here: Path) -> None:
    """Several side by side; each has its own name in the plan."""
    create(here)
    edit(here, 1, max_samples=1)
    found = plan(here, datasets=["mine@1", "mine"])
    assert used(found)[1:3] == ["Dataset mine@1", "Dataset mine@2"]
    assert [job.dataset_name for job in found.jobs] == ["mine@1", "mine"]
    assert [dataset.max_samples for dataset in found.datasets] == [1, None]


def test_version_whose_files_are_gone_is_refused(here: Path) -> None:
    """Never another file in its place."""
    create(here)
    FakeData(here).jsonl("mine.train.jsonl", 5)
    said = "e.yaml: matrix.datasets[0].train: has changed since version 1, and that one was never handed over. Use 'mine', which is what is there now"
    with pytest.raises(SpecError, match=re.escape(said)):
        plan(here, datasets=["mine@1"])


def test_own_resource_may_read_as_far_as_the_request(here: Path) -> None:
    """Whoever saved it: a request through Airflow is bound by its roots."""
    create(here)
    with pytest.raises(SpecError, match=re.escape("e.yaml: matrix.datasets[0].train: lies outside the folders that requests may read")):
        plan(here, roots=(here / "elsewhere",))
    assert used(plan(here, roots=(here,)))[1] == "Dataset mine@1"


def test_resource_that_a_plan_used_is_not_deleted(here: Path) -> None:
    """The refusal says which experiment, and where it is."""
    create(here)
    found = plan(here)
    write_plan(found, str(here / "home/store"))
    said = rf"Dataset 'mine' is still needed:\n- the experiment x, plan {found.plan_id}, which used mine@1: {here}/home/store/default/experiments/x/{found.plan_id}\n"
    with pytest.raises(SpecError, match=said):
        delete_resource(DATASETS, "mine", team="default")
    create(here, SCORINGS)
    delete_resource(SCORINGS, "mine", team="default")


def test_resource_that_only_a_run_used_is_not_deleted(here: Path) -> None:
    """The plan may have been written again, from a definition in place."""
    create(here)
    note_run(plan(here), str(here / "home/store"), "dag", "run 1")
    write_plan(plan(here, datasets=[ROWS]), str(here / "home/store"))
    with pytest.raises(SpecError, match="which used mine@1"):
        delete_resource(DATASETS, "mine", team="default")


@pytest.mark.parametrize("text", ["datasets: [mine]", "datasets: [mine@1]", "datasets: [mine], oops: 1"])
def test_resource_of_a_scheduled_experiment_is_not_deleted(here: Path, text: str) -> None:
    """By name, by version, and in a file that cannot be understood."""
    create(here)
    path = FakeData(here).text("home/schedules/e.yaml", f"name: x\nmatrix: {{llms: [base], hyperparameters: [quick], {text}}}\n")
    with pytest.raises(SpecError, match=f"- the scheduled experiment {path}"):
        delete_resource(DATASETS, "mine", team="default")
    create(here, SCORINGS)


def test_scheduled_experiment_that_means_another_one_is_no_hindrance(here: Path) -> None:
    """Defined in place, of another kind, or of another team."""
    create(here)
    common = "matrix: {llms: [base], hyperparameters: [mine], datasets: [{name: mine, train: a.jsonl}, mine]}\n"
    FakeData(here).text("home/schedules/a.yaml", f"name: x\n{common}")
    FakeData(here).text("home/schedules/b.yaml", "name: y\nteam: other\nmatrix: {llms: [base], hyperparameters: [quick], datasets: [mine]}\n")
    delete_resource(DATASETS, "mine", team="default")
    with pytest.raises(SpecError, match="There is no Dataset of this name"):
        resource_versions(DATASETS, "mine", team="default")


def test_group_that_another_one_extends_is_not_deleted(here: Path) -> None:
    """The other would be broken."""
    create(here, GROUPS)
    create(here, GROUPS, name="second", extends="mine")
    with pytest.raises(SpecError, match="- the HyperparameterGroup second, which extends it"):
        delete_resource(GROUPS, "mine", team="default")
    delete_resource(GROUPS, "second", team="default")
    delete_resource(GROUPS, "mine", team="default")


def test_validation_ratio_of_the_hyperparameters_makes_no_new_version(here: Path) -> None:
    """The Dataset of the catalog is the same one, only this experiment takes it apart; also where it asks for one version."""
    create(here, validation=None)
    group = {"name": "g", "val_size": 1}
    for name in ("mine", "mine@1"):
        found = plan(here, datasets=[name], hyperparameters=[group])
        assert (used(found)[1], found.datasets[0].files["validation"].num_rows) == ("Dataset mine@1", 1)
    assert len(resource_versions(DATASETS, "mine", team="default")) == 1


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data plugin `clean`, which is told `least`."""
    parameters = {"properties": {"least": {"type": "integer", "default": 3}}}
    Packages(tmp_path / "packages", monkeypatch).add("clean", "raise RuntimeError('imported')\n", parameters=parameters)


def test_plugin_is_told_named_parameters(here: Path, plugin: None) -> None:
    """The plan has the values and records the version; with the same ones written in place it is the same job."""
    create(here, PARAMETERS, plugin="clean", parameters={"least": 5})
    create(here, name="rows2", plugins=[{"name": "clean", "parameters": "mine"}])
    found = plan(here, datasets=["rows2"])
    assert used(found)[1:3] == ["Dataset rows2@1", "PluginParameters mine@1"]
    assert found.datasets[0].plugins[0].parameters == {"least": 5}
    in_place = plan(here, datasets=[{**ROWS, "plugins": [{"name": "clean", "parameters": {"least": 5}}]}])
    assert [job.job_id for job in in_place.jobs] == [job.job_id for job in found.jobs]


def test_version_of_parameters_can_be_asked_for(here: Path, plugin: None) -> None:
    """An edit changes what Datasets without a version are told, and no other."""
    create(here, PARAMETERS, plugin="clean", parameters={"least": 5})
    edit(here, 1, PARAMETERS, plugin="clean", parameters={"least": 6})
    data = [{**ROWS, "name": name, "plugins": [{"name": "clean", "parameters": name}]} for name in ("mine@1", "mine")]
    found = plan(here, datasets=data)
    assert [dataset.plugins[0].parameters["least"] for dataset in found.datasets] == [6, 5]
    assert used(found)[1:3] == ["PluginParameters mine@1", "PluginParameters mine@2"]


def test_bundled_parameters_are_named_too(here: Path, plugin: None) -> None:
    """One YAML file each, below config/plugin-parameters."""
    FakeData(here).text("config/plugin-parameters/strict.yaml", "name: strict\nplugin: clean\nparameters: {least: 9}\n")
    found = plan(here, datasets=[{**ROWS, "plugins": [{"name": "clean", "parameters": "strict"}]}])
    assert (found.datasets[0].plugins[0].parameters, used(found)[1]) == ({"least": 9}, "PluginParameters strict@None")


def test_parameters_are_checked_before_they_are_saved(here: Path, plugin: None) -> None:
    """By the schema of the plugin that is here."""
    with pytest.raises(SpecError, match=re.escape("mine.json: parameters.last: is not a known parameter (got 1). Did you mean 'least'?")):
        create(here, PARAMETERS, plugin="clean", parameters={"last": 1})
    with pytest.raises(SpecError, match=re.escape("mine.json: plugin: There is no plugin 'clear'")):
        create(here, PARAMETERS, plugin="clear")


def test_dataset_may_name_only_parameters_of_its_plugin(here: Path, plugin: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only those that are there; when it is saved, and when an experiment names it."""
    create(here, PARAMETERS, plugin="clean")
    Packages(tmp_path / "packages", monkeypatch).add("other", "raise RuntimeError('imported')\n")
    with pytest.raises(SpecError, match=re.escape("mine.json: plugins[0].parameters: are those of another plugin, 'clean' (got 'mine')")):
        create(here, plugins=[{"name": "other", "parameters": "mine"}])
    said = "e.yaml: matrix.datasets[0].plugins[0].parameters: there are no PluginParameters of this name (got 'mime'). Did you mean 'mine'?"
    with pytest.raises(SpecError, match=re.escape(said)):
        plan(here, datasets=[{**ROWS, "plugins": [{"name": "clean", "parameters": "mime"}]}])


def test_parameters_that_something_refers_to_are_not_deleted(here: Path, plugin: None) -> None:
    """A Dataset, a plan, or a scheduled experiment with a definition in place."""
    create(here, PARAMETERS, plugin="clean")
    create(here, name="rows2", plugins=[{"name": "clean", "parameters": "mine@1"}])
    data = json.dumps({**ROWS, "plugins": [{"name": "clean", "parameters": "mine"}]})
    path = FakeData(here).text("home/schedules/e.yaml", f"name: x\nmatrix: {{llms: [base], hyperparameters: [quick], datasets: [{data}]}}\n")
    found = plan(here, datasets=["rows2"])
    write_plan(found, str(here / "home/store"))
    with pytest.raises(SpecError) as told:
        delete_resource(PARAMETERS, "mine", team="default")
    for user in (
        f"- the experiment x, plan {found.plan_id}, which used mine@1: ",
        f"- the scheduled experiment {path}",
        "- the Dataset rows2, whose plugin is told it",
    ):
        assert user in str(told.value)


BY_REWARD: dict[str, Any] = {"stage": "grpo", "num_generations": 4}


def reward_in(folder: Path) -> str:
    """A model that rates, and where it is."""
    return str(FakeData(folder).model(".", '{"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}'))


@pytest.mark.parametrize("source", ["{elsewhere}", "s3://bucket/reward", "hf://ann/private"])
@pytest.mark.parametrize("group", ["mine", "second", {"name": "third", "extends": "mine"}], ids=["own", "own that extends it", "in place"])
def test_reward_model_of_an_own_group_leads_no_further_than_the_request(here: Path, source: str, group: str | dict[str, str]) -> None:
    """Whoever may save a group may not read with it what requests may not: not by its name, and not by extending it."""
    create(here, GROUPS, **BY_REWARD, reward_model=source.format(elsewhere=reward_in(here / "elsewhere")))
    create(here, GROUPS, name="second", extends="mine")
    with pytest.raises(SpecError, match=r"hyperparameters\[0\]\.reward_model: lies outside the folders that requests may read"):
        plan(here, roots=(here / "uploads",), hyperparameters=[group])


def test_reward_model_of_a_bundled_group_is_the_platforms(here: Path) -> None:
    """Its path is read with the server's rights, also where an own group extends it."""
    bundled = {"name": "rewarded", **BY_REWARD, "reward_model": reward_in(here / "elsewhere")}
    FakeData(here).text("config/hyperparameters/rewarded.yaml", json.dumps(bundled))
    create(here, GROUPS, extends="rewarded", max_steps=1)
    path = FakeData(here).jsonl("uploads/prompts.jsonl", [{"messages": [{"role": "user", "content": str(number)}]} for number in range(8)])
    prompts = {"name": "prompts", "train": str(path), "format": "openai", "kind": "prompts"}
    judged = {"llm": "base", "dataset": "rows", "hyperparameters": "quick"}
    made = plan(here, roots=(here / "uploads",), datasets=[prompts], hyperparameters=["mine"], include=[judged])
    assert [reward.llm.source for reward in made.rewards] == [bundled["reward_model"]]
