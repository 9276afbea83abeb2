"""Everything that an experiment names, looked up."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.catalog import load_catalog
from dtx_tasks.errors import SpecError
from dtx_tasks.plan import ResolvedInputs, make_plan
from dtx_tasks.resolve import Origin, resolve
from dtx_tasks.resolve.files import MOST_CHARACTERS
from dtx_tasks.storage import read_images
from tests.builders import FakeData, make_experiment, make_matrix


def found(folder: Path, *, roots: tuple[Path, ...] | None = None, **changes: Any) -> ResolvedInputs:
    catalog = load_catalog(FakeData(folder).config())
    return resolve(make_experiment(**changes), catalog, Origin(folder, roots))


def told(folder: Path, **changes: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        found(folder, **changes)
    return str(caught.value).splitlines()


def test_names_of_the_catalog_are_found(tmp_path: Path) -> None:
    """LLM, Dataset and group, with what the group extends."""
    inputs = found(tmp_path, matrix=make_matrix(hyperparameters=["slow"]))
    assert (inputs.llms["base"].kind, inputs.datasets["rows"].files["test"].num_rows, inputs.groups["slow"].max_steps) == ("made", 3, 8)


def test_unknown_names_are_told_at_once(tmp_path: Path) -> None:
    """Each with its place, the nearest name and all that exist."""
    matrix = make_matrix(llms=["bose"], datasets=["row"], hyperparameters=["quick", "fast"])
    assert told(tmp_path, matrix=matrix, scoring="strict") == [
        "the experiment: matrix.llms[0]: there is no LLM of this name (got 'bose'). Did you mean 'base'? Known: base.",
        "the experiment: matrix.datasets[0]: there is no Dataset of this name (got 'row'). Did you mean 'rows'? Known: rows.",
        "the experiment: matrix.hyperparameters[1]: there is no HyperparameterGroup of this name (got 'fast'). Known: quick, slow.",
        "the experiment: scoring: there is no Scoring of this name (got 'strict'). None is defined.",
    ]


def test_many_known_names_are_left_to_the_command_that_lists_them(tmp_path: Path) -> None:
    """With the nearest one."""
    data = FakeData(tmp_path)
    for number in range(20):
        data.text(f"config/hyperparameters/g{number}.yaml", f"name: group-{number}\n")
    (line,) = told(tmp_path, matrix=make_matrix(hyperparameters=["quik"]))
    assert line.endswith("(got 'quik'). Did you mean 'quick'? `dtx hyperparameters list` lists all 22.")


def test_names_of_jobs_and_includes_are_looked_up_too(tmp_path: Path) -> None:
    """Wherever a name may stand."""
    entry = {"llm": "base", "dataset": "rows", "hyperparameters": "fast"}
    lines = told(tmp_path, matrix=make_matrix(include=[entry]), jobs=[entry])
    assert [line.split(": ")[1] for line in lines] == ["matrix.include[0].hyperparameters", "jobs[0].hyperparameters"]


def test_definition_in_place_is_known_by_its_name(tmp_path: Path) -> None:
    """Elsewhere in the same experiment, and before the catalog's."""
    entry = {"llm": "base", "dataset": "rows", "hyperparameters": "quick"}
    inputs = found(tmp_path, matrix=make_matrix(hyperparameters=[{"name": "quick", "lora_rank": 3}]), jobs=[entry])
    assert inputs.groups["quick"].lora_rank == 3


def test_definition_in_place_can_extend_the_catalogs(tmp_path: Path) -> None:
    """Groups of both kinds are one chain."""
    inputs = found(tmp_path, matrix=make_matrix(hyperparameters=[{"name": "mine", "extends": "slow", "lora_rank": 3}]))
    assert (inputs.groups["mine"].max_steps, inputs.groups["mine"].lora_rank) == (8, 3)


def test_two_definitions_of_one_name_are_told(tmp_path: Path) -> None:
    """Which of them is meant nobody can say."""
    groups = [{"name": "g", "lora_rank": 3}, {"name": "g", "lora_rank": 4}]
    said = "'g' is defined twice, differently. Rename one of the definitions."
    assert told(tmp_path, matrix=make_matrix(hyperparameters=groups)) == [f"the experiment: matrix.hyperparameters[1]: {said}"]


def test_mistakes_below_a_definition_have_its_place(tmp_path: Path) -> None:
    """Missing files and values that do not go together."""
    data = {"name": "d", "train": "none.jsonl", "test": "none.csv"}
    lines = told(tmp_path, matrix=make_matrix(datasets=["rows", data], hyperparameters=[{"name": "g", "extends": "none"}]))
    assert [line.split(": ")[1] for line in lines] == ["matrix.datasets[1].train", "matrix.datasets[1].test", "matrix.hyperparameters[0].extends"]


def test_request_may_not_read_beyond_its_roots(tmp_path: Path) -> None:
    """Only the author's own definitions are bound: the catalog's are the platform's."""
    data = {"name": "d", **FakeData(tmp_path).splits("outside/d")}
    assert found(tmp_path, roots=(tmp_path / "uploads",)).datasets["rows"].files
    lines = told(tmp_path, roots=(tmp_path / "uploads",), matrix=make_matrix(datasets=[data]))
    assert all("lies outside the folders that requests may read" in line for line in lines)
    assert len(lines) == 3


def test_metric_that_is_not_measured_is_told(tmp_path: Path) -> None:
    """Nothing could be selected by it."""
    said = "the Scoring does not measure it (got 'exact_match'). Choose one of bleu, or add it to the metrics of the Scoring."
    assert told(tmp_path, scoring={"metrics": ["bleu"]}) == [f"the experiment: selection.metric: {said}"]


def test_experiment_without_a_row_to_score_on_is_told(tmp_path: Path) -> None:
    """Train splits alone judge nothing."""
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl"))}
    said = "there is no row to score on: every Dataset has only a train split. Give at least one Dataset a `validation` or a `test` file."
    assert told(tmp_path, matrix=make_matrix(datasets=[data])) == [f"the experiment: scoring: {said}"]


def test_one_dataset_with_rows_to_score_on_is_enough(tmp_path: Path) -> None:
    """Every job is scored on the union."""
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl"))}
    assert len(found(tmp_path, matrix=make_matrix(datasets=[data, "rows"])).datasets) == 2


@pytest.mark.parametrize("processes", [3, 32])
def test_processes_that_do_not_divide_the_batch_are_told(tmp_path: Path, processes: int) -> None:
    """Another global batch would be another result."""
    said = f"must divide global_batch_size 16 of 'quick' (got {processes}). Every process takes the same number of rows."
    assert told(tmp_path, resources={"processes": processes}) == [f"the experiment: resources.processes: {said}"]


def test_resources_that_do_not_go_together_are_told_once(tmp_path: Path) -> None:
    """However many groups there are."""
    said = "only what DeepSpeed shards is offloaded. Set deepspeed: zero2 or zero3, or leave offload out."
    matrix = make_matrix(hyperparameters=["quick", {"name": "other"}])
    assert told(tmp_path, resources={"offload": True}, matrix=matrix) == [f"the experiment: resources.offload: {said}"]


@pytest.mark.parametrize(("template", "is_refused"), [("glm4", True), ("chatml", False), ("tokenizer", False)])
def test_learning_questions_behind_answers_without_an_end_is_told(tmp_path: Path, template: str, is_refused: bool) -> None:
    """The model would learn to write the next question itself."""
    matrix = make_matrix(llms=[{"name": "m", "source": "made:tiny-test", "template": template}], hyperparameters=[{"name": "g", "train_on_prompt": True}])
    if not is_refused:
        assert found(tmp_path, matrix=matrix).groups["g"].train_on_prompt
        return
    said = "train_on_prompt of 'g' does not fit 'm': its template glm4 has no mark where an earlier answer ends."
    assert told(tmp_path, matrix=matrix) == [f"the experiment: {said} Remove train_on_prompt, or choose another `template` of the LLM."]


def test_what_cannot_be_trained_together_is_told_of_its_group(tmp_path: Path) -> None:
    """With the place in the experiment; what is only not advised is a note."""
    group = {"name": "g", "optim": "galore_adamw", "lora_rank": 64}
    (line,) = told(tmp_path, matrix=make_matrix(hyperparameters=["quick", group]))
    assert line.startswith("the experiment: matrix.hyperparameters[1].optim: galore_adamw projects the gradients of whole weights, and lora has none.")
    notes = found(tmp_path, matrix=make_matrix(hyperparameters=[{"name": "g", "lora_rank": 64}])).notes
    assert notes == ("g: lora_rank: 64 is outside of what is advised (4 to 16)",)


def test_target_of_the_backend_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that says that it has no GPU is believed; one that says nothing is not asked."""
    matrix = make_matrix(hyperparameters=[{"name": "g", "compute_type": "fp16"}])
    assert found(tmp_path, matrix=matrix).groups["g"].compute_type == "fp16"
    FakeData(tmp_path).text("declared/backends/cpu.yaml", "kind: Backend\nname: cpu\nbackend: local\ntarget: {accelerator: none}\n")
    monkeypatch.setenv("DTX_CONFIG", str(tmp_path / "declared"))
    monkeypatch.setenv("DTX_BACKEND", "cpu")
    (line,) = told(tmp_path, matrix=matrix)
    assert line.startswith("the experiment: matrix.hyperparameters[0].compute_type: fp16 needs a GPU, and the backend has none.")


def test_bad_rows_do_not_stop_an_experiment(tmp_path: Path) -> None:
    """The other Datasets are not to suffer."""
    data = {"name": "d", **FakeData(tmp_path).splits("d"), "train": str(FakeData(tmp_path).jsonl("bad.jsonl", [{"instruction": "a"}]))}
    assert "output: the column is missing." in found(tmp_path, matrix=make_matrix(datasets=["rows", data])).datasets["d"].problem


def leaking(folder: Path) -> dict[str, Any]:
    """A Dataset that scores on rows of another one's train split."""
    rows = [{"instruction": f"{number}", "output": "yes"} for number in range(4)]
    data = FakeData(folder)
    one = {"name": "one", "train": str(data.jsonl("one.jsonl", rows[:2])), "test": str(data.jsonl("one.test.jsonl", rows[2:]))}
    other = {"name": "other", "train": str(data.jsonl("other.jsonl", rows[1:3]))}
    return make_matrix(datasets=[one, other])


def test_rows_that_are_scored_on_and_learned_from_stop_an_experiment(tmp_path: Path) -> None:
    """Those of another Dataset of the experiment too."""
    (line,) = told(tmp_path, matrix=leaking(tmp_path))
    place = f"{tmp_path}/one.test.jsonl:1 (learned from in {tmp_path}/other.jsonl:2)"
    remedy = "Remove them from the train split, or say why it does not matter here: `allow_leakage: REASON`."
    assert line == f"the experiment: allow_leakage: 1 rows that are scored on are learned from too, the first is {place}. {remedy}"


def test_reason_lets_such_rows_through_and_is_kept(tmp_path: Path) -> None:
    """Whoever reads the plan sees it."""
    inputs = found(tmp_path, matrix=leaking(tmp_path), allow_leakage="greetings repeat")
    assert make_plan(inputs).leakage == "1 rows are scored on and learned from too: greetings repeat"
    assert make_plan(found(tmp_path)).leakage == ""


SENTENCE = " ".join(f"word{number}" for number in range(200))


def nearly_leaking(folder: Path, **changes: Any) -> dict[str, Any]:
    """A Dataset that scores on a row which is almost the second of another one's train split."""
    rows = [{"instruction": text, "output": "yes"} for text in ("a", SENTENCE, f"{SENTENCE} more", "b")]
    data = FakeData(folder)
    one = {"name": "one", "train": str(data.jsonl("one.jsonl", rows[3:])), "test": str(data.jsonl("one.test.jsonl", rows[2:3]))}
    return make_matrix(datasets=[one, {"name": "other", "train": str(data.jsonl("other.jsonl", rows[:2])), **changes}])


def test_rows_that_are_almost_learned_from_are_told_with_their_similarity(tmp_path: Path) -> None:
    """Those of another Dataset of the experiment too; they stop nothing."""
    (note,) = make_plan(found(tmp_path, matrix=nearly_leaking(tmp_path))).notes
    places = re.escape(f"{tmp_path}/one.test.jsonl:1 and {tmp_path}/other.jsonl:2")
    assert re.fullmatch(rf"1 rows to score on are almost the same as some that are learned from, most of all {places} \(similarity about 0\.9\d\)", note)


def test_rows_beyond_max_samples_are_not_learned_from(tmp_path: Path) -> None:
    """And so nothing that is scored on is almost the same as they are."""
    assert found(tmp_path, matrix=nearly_leaking(tmp_path, max_samples=1)).notes == ()


def test_held_out_rows_are_compared_with_what_is_left(tmp_path: Path) -> None:
    """The parts of one file are splits like any other."""
    rows = [{"instruction": f"{SENTENCE} {number}", "output": "yes"} for number in range(10)]
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl", rows)), "test": 3}
    (note,) = found(tmp_path, matrix=make_matrix(datasets=[data])).notes
    assert note.startswith("3 rows to score on are almost the same as some that are learned from")


def test_dataset_too_large_to_be_compared_is_told(tmp_path: Path) -> None:
    """Nobody is to think that it was looked at."""
    rows = [{"instruction": "a", "output": "b" * (MOST_CHARACTERS // 2)}] * 2
    data = {"name": "large", "train": str(FakeData(tmp_path).jsonl("d.jsonl", rows)), "test": str(FakeData(tmp_path).jsonl("t.jsonl", 1))}
    *_, note = found(tmp_path, matrix=make_matrix(datasets=[data, "rows"])).notes
    looked = "nobody has looked for rows to score on that are almost learned from"
    assert note == f"In large {looked}: more than 100,000 rows or 50,000,000 characters; `dtx dataset check` does"


def test_rows_of_a_dataset_that_will_fail_do_not_leak(tmp_path: Path) -> None:
    """Nothing of it is learned or scored on."""
    path = str(FakeData(tmp_path).jsonl("bad.jsonl", [{"instruction": "a", "output": "b"}, {"instruction": "c"}]))
    assert found(tmp_path, matrix=make_matrix(datasets=["rows", {"name": "bad", "train": path, "test": path}])).num_leaked_rows == 0


@pytest.mark.parametrize(
    ("changes", "told_of_it"),
    [
        ({"columns": {"messages": "m"}}, ".columns.messages: is not read of conversations in the format alpaca."),
        ({"tags": {"user": "u"}}, ".tags.user: is not read of the format alpaca. Remove it, or name another `format`."),
        ({"test": {"subset": "dev"}}, ".test: is a subset, and no column says which rows are in it. Name that column: `columns: {subset: ...}`."),
        ({"columns": {"subset": "of"}}, ".columns.subset: has no effect: neither validation nor test is a subset."),
    ],
)
def test_what_cannot_be_trained_on_stops_the_plan(tmp_path: Path, changes: dict[str, Any], told_of_it: str) -> None:
    """Before anything is started, and nothing that was written is ignored."""
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl", [{"instruction": "a", "output": "b"}])), **changes}
    assert any(line.startswith(f"the experiment: matrix.datasets[0]{told_of_it}") for line in told(tmp_path, matrix=make_matrix(datasets=[data, "rows"])))


def seeing(folder: Path, architecture: str = "llava", template: str = "llava", **group: Any) -> dict[str, Any]:
    """A matrix whose rows have images, for a model of an architecture."""
    FakeData(folder).model("model", json.dumps({"model_type": architecture, "vision_config": {}}))
    FakeData(folder).text("a.png", "pixels")
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "b"}]
    path = FakeData(folder).jsonl("d.jsonl", [{"conversations": turns, "images": ["a.png"]}])
    llm = {"name": "seeing", "source": str(folder / "model"), "template": template}
    return make_matrix(llms=[llm], datasets=[{"name": "d", "train": str(path), "format": "sharegpt"}, "rows"], hyperparameters=[{"name": "g", **group}])


def test_images_are_part_of_what_rows_are(tmp_path: Path) -> None:
    """Each with its digest: another image under the same name is another Dataset."""
    before = found(tmp_path, matrix=seeing(tmp_path)).datasets["d"]
    images = before.files["train"].images
    assert images is not None
    (image,) = read_images(images)
    assert (image.written, images.uri_of(image), image.num_bytes) == ("a.png", str(tmp_path / "a.png"), 6)
    matrix = seeing(tmp_path)
    FakeData(tmp_path).text("a.png", "others")
    after = found(tmp_path, matrix=matrix).datasets["d"]
    assert before.files["train"].sha256 == after.files["train"].sha256
    assert before.train_digest != after.train_digest


@pytest.mark.parametrize(
    ("changes", "told_of_it"),
    [
        ({"architecture": "qwen2", "template": "qwen"}, "a model of the architecture 'qwen2' does not learn from images. Choose one of: llava, "),
        ({"architecture": "llava_next_video"}, "a model of the architecture 'llava_next_video' does not learn from images."),
        ({"template": "vicuna"}, "its template vicuna has no place for images. Set `template` of the LLM to one of: llava, llava_next, paligemma, qwen2_vl."),
        ({"finetuning_type": "ia3"}, "ia3 is not tested on images. Use finetuning_type: lora, or full."),
        ({"packing": True}, "rows with images are not packed. Leave packing out."),
        ({"architecture": "paligemma", "template": "paligemma", "train_on_prompt": True}, "and sees each word of them before it would learn it."),
        ({"stage": "orpo"}, "orpo is not tested on models that see"),
    ],
)
def test_who_cannot_learn_from_images_stops_the_plan(tmp_path: Path, changes: dict[str, Any], told_of_it: str) -> None:
    """With the reason, and with what to change."""
    assert told_of_it in told(tmp_path, matrix=seeing(tmp_path, **changes))[0]


def test_weights_that_see_are_not_sharded(tmp_path: Path) -> None:
    """A process without an image would wait for ever."""
    (line,) = told(tmp_path, matrix=seeing(tmp_path), resources={"processes": 2, "deepspeed": "zero3"})
    assert line.startswith("the experiment: resources: zero3 does not fit 'd', whose rows have images: ")


@pytest.mark.parametrize(
    ("row", "changes", "told_of_it"),
    [
        (
            {"instruction": "<video>?", "output": "b", "v": ["a.mp4"]},
            {"columns": {"videos": "v"}},
            ".columns: its rows have videos, which cannot be trained on.",
        ),
        (
            {"instruction": "<image>?", "output": "b", "i": ["https://example.org/a.png"]},
            {"columns": {"images": "i"}},
            ".columns: its rows have images that are elsewhere (got 'https://example.org/a.png'). Download them, and name the files.",
        ),
        (
            {"instruction": "<image>?", "chosen": "b", "rejected": "c", "i": ["a.png"]},
            {"columns": {"images": "i"}, "kind": "preferences"},
            ".kind: its rows have images, and rows of the kind preferences cannot be trained on with images.",
        ),
    ],
)
def test_files_that_nothing_is_learned_from_stop_the_plan(tmp_path: Path, row: dict[str, Any], changes: dict[str, Any], told_of_it: str) -> None:
    """They are checked and counted by `dtx dataset check` all the same."""
    for name in ("a.mp4", "a.png"):
        FakeData(tmp_path).text(name, "")
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl", [row])), **changes}
    assert told(tmp_path, matrix=make_matrix(datasets=[data, "rows"]))[0].startswith(f"the experiment: matrix.datasets[0]{told_of_it}")


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc/no such file", "../../etc/hostname", "b.png"])
def test_request_learns_nothing_of_files_that_it_may_not_read(tmp_path: Path, target: str) -> None:
    """Whether they are there or not: the words are the same."""
    uploads = tmp_path / "uploads"
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "b"}]
    path = FakeData(uploads).jsonl("d.jsonl", [{"conversations": turns, "images": [target]}])
    data = {"name": "d", "train": str(path), "format": "sharegpt"}
    assert f"there is no file {target!r}." in found(tmp_path, roots=(uploads,), matrix=make_matrix(datasets=["rows", data])).datasets["d"].problem


def test_warnings_of_rows_are_counted_in_the_plan(tmp_path: Path) -> None:
    """They stop nothing, and `dtx dataset check` says where they are."""
    rows = [{"instruction": "q", "output": "a"}, {"instruction": "q", "output": "a"}, {"instruction": "fÃ¼r \ufffd", "output": "b"}]
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl", rows))}
    said = "The rows of d have warnings (1 broken_text, 1 duplicate, 1 replacement_character): `dtx dataset check` shows where"
    assert said in found(tmp_path, matrix=make_matrix(datasets=[data, "rows"])).notes


def test_held_out_rows_are_counted_apart(tmp_path: Path) -> None:
    """As splits of their own, of the same file."""
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl", 20)), "validation": 0.2, "test": 3}
    files = found(tmp_path, matrix=make_matrix(datasets=[data])).datasets["d"].files
    assert {split: (file.num_rows, file.portion) for split, file in files.items()} == {"train": (13, None), "validation": (4, 0.2), "test": (3, 3)}


def test_how_rows_are_held_out_is_part_of_what_they_are(tmp_path: Path) -> None:
    """Another seed learns from other rows; written down and read again it is the same."""
    path = str(FakeData(tmp_path).jsonl("d.jsonl", 20))
    variants = [{"test": 3}, {"test": 3, "split_seed": 1}, {"test": 4}, {"test": 0.15}, {"validation": 3}]
    sources = [found(tmp_path, matrix=make_matrix(datasets=[{"name": "d", "train": path, **variant}])).datasets["d"] for variant in variants]
    assert len({source.train_digest for source in sources}) == len({source.scored_digest for source in sources}) == len(variants)
    assert all(type(source).model_validate_json(source.model_dump_json()) == source for source in sources)


def split_by_groups(folder: Path, *sizes: float | None, **changes: Any) -> dict[str, Any]:
    """A matrix of groups `g0`, `g1`, ... that ask for these validation splits, on a Dataset that has none."""
    data = {"name": "d", "train": str(FakeData(folder).jsonl("d.jsonl", 20)), **changes}
    groups = [{"name": f"g{number}", "lora_rank": number + 1} | ({} if size is None else {"val_size": size}) for number, size in enumerate(sizes)]
    return make_matrix(datasets=[data], hyperparameters=groups)


@pytest.mark.parametrize("size", [0.2, 4])
def test_validation_ratio_of_the_hyperparameters_is_moved_to_the_datasets(tmp_path: Path, size: float) -> None:
    """It is as if the Dataset had said so: same rows, same identities; and the plan tells it."""
    moved, written = found(tmp_path, matrix=split_by_groups(tmp_path, size, size)), found(tmp_path, matrix=split_by_groups(tmp_path, None, validation=size))
    assert {split: file.num_rows for split, file in moved.datasets["d"].files.items()} == {"train": 16, "validation": 4}
    assert moved.datasets == written.datasets
    assert make_plan(moved).jobs[0].job_id == make_plan(written).jobs[0].job_id
    assert make_plan(moved).notes[0] == f"val_size {size} of the hyperparameters is moved to the Datasets: each holds it out as its validation split"


def test_validation_ratio_may_be_inherited_and_taken_back(tmp_path: Path) -> None:
    """As every value of a group."""
    parent, child = {"name": "p", "val_size": 0.2}, {"name": "c", "extends": "p"}
    data = {"name": "d", "train": str(FakeData(tmp_path).jsonl("d.jsonl", 20)), "test": 2}
    inputs = found(tmp_path, matrix=make_matrix(datasets=[data], hyperparameters=[parent, child]))
    assert inputs.datasets["d"].files["validation"].num_rows == 4
    (line,) = told(tmp_path, matrix=make_matrix(datasets=[data], hyperparameters=[parent, {**child, "val_size": None}]))
    assert line.startswith("the experiment: matrix.hyperparameters[0].val_size: differs among the hyperparameter groups: 'p' 0.2, 'c' none.")


@pytest.mark.parametrize(("sizes", "said"), [((0.2, 0.1), "'g0' 0.2, 'g1' 0.1"), ((None, 4, 4), "'g0' none, 'g1' 4, 'g2' 4")])
def test_validation_ratios_that_differ_are_told(tmp_path: Path, sizes: tuple[float | None, ...], said: str) -> None:
    """Jobs that are judged on different rows cannot be compared."""
    (line,) = told(tmp_path, matrix=split_by_groups(tmp_path, *sizes))
    place = next(number for number, size in enumerate(sizes) if size is not None)
    remedy = "Jobs are compared on the same rows: give every group the same, or write it as `validation` of the Dataset."
    assert line == f"the experiment: matrix.hyperparameters[{place}].val_size: differs among the hyperparameter groups: {said}. {remedy}"


def test_validation_ratio_beside_a_validation_split_is_told(tmp_path: Path) -> None:
    """With the Dataset that has one already."""
    (line,) = told(tmp_path, matrix=split_by_groups(tmp_path, 0.1, validation=3))
    said = "'d' has a validation split of its own, and the hyperparameters hold another one out of it: val_size 0.1"
    assert line == f"the experiment: matrix.datasets[0]: {said}. Remove val_size from the hyperparameters, or `validation` from the Dataset."


def limited(folder: Path, *numbers: int | None, **changes: Any) -> dict[str, Any]:
    """A matrix of groups `g0`, `g1`, ... that ask for so many rows of a Dataset of 20 that holds 4 out."""
    data = {"name": "d", "train": str(FakeData(folder).jsonl("d.jsonl", 20)), "validation": 4, **changes}
    groups = [{"name": f"g{place}", "lora_rank": place + 1} | ({} if number is None else {"max_samples": number}) for place, number in enumerate(numbers)]
    return make_matrix(datasets=[data], hyperparameters=groups)


def test_max_samples_of_the_hyperparameters_is_moved_to_the_datasets(tmp_path: Path) -> None:
    """It is as if the Dataset had said so: same rows, same identities; and the plan tells it."""
    moved, written = found(tmp_path, matrix=limited(tmp_path, 6, 6)), found(tmp_path, matrix=limited(tmp_path, None, max_samples=6))
    assert moved.datasets["d"].max_samples == 6
    assert moved.datasets == written.datasets
    assert make_plan(moved).jobs[0].job_id == make_plan(written).jobs[0].job_id
    note = "max_samples 6 of the hyperparameters is moved to the Datasets: each gives at most the first so many rows of its train split"
    assert make_plan(moved).notes[0] == note


@pytest.mark.parametrize(("own", "moved", "counts"), [(3, 6, 3), (9, 6, 6)])
def test_lower_max_samples_counts(tmp_path: Path, own: int, moved: int, counts: int) -> None:
    """Of a Dataset's own and that of the hyperparameters: neither gives more rows than it says."""
    assert found(tmp_path, matrix=limited(tmp_path, moved, max_samples=own)).datasets["d"].max_samples == counts


def test_max_samples_is_inherited(tmp_path: Path) -> None:
    """As every value of a group."""
    matrix = limited(tmp_path) | {"hyperparameters": [{"name": "p", "max_samples": 5}, {"name": "c", "extends": "p"}]}
    assert found(tmp_path, matrix=matrix).datasets["d"].max_samples == 5


def test_max_samples_that_differ_are_told(tmp_path: Path) -> None:
    """Which of them a Dataset is to give nobody can say."""
    (line,) = told(tmp_path, matrix=limited(tmp_path, None, 6))
    said = "differs among the hyperparameter groups: 'g0' none, 'g1' 6. Jobs on a Dataset learn from the same rows: give every group the same, or "
    assert line.startswith(f"the experiment: matrix.hyperparameters[1].max_samples: {said}")


def test_both_keys_that_differ_are_told(tmp_path: Path) -> None:
    """At once, and nothing else of them."""
    matrix = limited(tmp_path, None, 6, validation=None)
    matrix["hyperparameters"][0]["val_size"] = 0.1
    assert [line.split(": ")[1] for line in told(tmp_path, matrix=matrix)] == ["matrix.hyperparameters[0].val_size", "matrix.hyperparameters[1].max_samples"]


def model_in(folder: Path, head: str) -> str:
    """A model with this head, and where it is."""
    return str(FakeData(folder).model(head, f'{{"model_type": "llama", "architectures": ["LlamaFor{head}"]}}'))


def test_reward_model_that_rates_nothing_stops_the_plan(tmp_path: Path) -> None:
    """TRL would give it a new head, and learn by noise."""
    writer, rater = model_in(tmp_path, "CausalLM"), model_in(tmp_path, "SequenceClassification")
    group = {"name": f"{'g' * 89} x", "stage": "grpo", "reward_model": rater}
    assert found(tmp_path, matrix=make_matrix(hyperparameters=[group])).rewards[group["name"]].source == rater
    (line,) = told(tmp_path, matrix=make_matrix(hyperparameters=["quick", {**group, "reward_model": writer}]))
    assert line.startswith("the experiment: matrix.hyperparameters[1].reward_model: is no reward model: neither a model ForSequenceClassification nor")
    assert line.endswith("Name the folder of one that stage: rm made.")


def given_adapter(folder: Path, **changes: Any) -> dict[str, Any]:
    """An LLM whose adapter is trained further."""
    base = model_in(folder, "CausalLM")
    targets = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": 4, "lora_alpha": 8, "target_modules": targets, **changes}
    FakeData(folder).text("tuned/adapter_config.json", json.dumps(config))
    return {"name": "tuned", "source": "tuned", "template": "default", "adapter": "continue"}


@pytest.mark.parametrize(
    "group", [{}, {"lora_rank": 4, "lora_alpha": 8, "lora_target": "all"}, {"lora_target": "v_proj, q_proj,k_proj,o_proj,up_proj,gate_proj,down_proj"}]
)
def test_job_has_the_values_of_the_adapter_that_it_trains_further(tmp_path: Path, group: dict[str, Any]) -> None:
    """Left out, or written as they are: it is one job."""
    llm = given_adapter(tmp_path)
    jobs = [make_plan(found(tmp_path, matrix=make_matrix(llms=[llm], hyperparameters=[{"name": "g", **written}]))).jobs[0] for written in ({}, group)]
    assert jobs[0].job_id == jobs[1].job_id
    assert (jobs[1].hyperparameters.lora_rank, jobs[1].hyperparameters.lora_alpha) == (4, 8)
    merged = make_plan(found(tmp_path, matrix=make_matrix(llms=[{**llm, "adapter": "merge"}], hyperparameters=[{"name": "g", "lora_rank": 4}]))).jobs[0]
    assert merged.job_id != jobs[0].job_id
    assert merged.hyperparameters.lora_target == "all"


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ({"lora_rank": 8}, "the adapter that is trained further has lora_rank: 4. Leave out what the group says of it, or use `adapter: merge`"),
        ({"lora_target": "q_proj", "use_dora": True}, "has lora_target: down_proj,gate_proj,k_proj,o_proj,q_proj,up_proj,v_proj, use_dora: false."),
        ({"init_lora_weights": "pissa"}, "has init_lora_weights: default."),
        ({"additional_target": "lm_head"}, "has additional_target: none."),
        ({"finetuning_type": "full"}, "its LoRA adapter is trained further, which full does not. Use finetuning_type: lora, or `adapter: merge` of the LLM."),
        ({"stage": "rm"}, "its adapter writes answers, and rm learns to rate them. Use `adapter: merge` of the LLM."),
    ],
)
def test_group_that_contradicts_a_given_adapter_is_told(tmp_path: Path, group: dict[str, Any], said: str) -> None:
    """With what the adapter has."""
    (line,) = told(tmp_path, matrix=make_matrix(llms=[given_adapter(tmp_path)], hyperparameters=[{"name": "g", **group}]))
    assert line.startswith("the experiment: 'g' does not fit 'tuned': ")
    assert said in line


@pytest.mark.parametrize("resources", [{"deepspeed": "zero3"}, {"processes": 2, "fsdp": True}])
def test_whole_modules_of_a_given_adapter_are_not_sharded(tmp_path: Path, resources: dict[str, Any]) -> None:
    """The low-rank ones may be beside sharded weights."""
    groups: dict[str, Any] = {"hyperparameters": [{"name": "g"}]}
    assert found(tmp_path, matrix=make_matrix(llms=[given_adapter(tmp_path)], **groups), resources=resources).llms["tuned"].adapter
    (line,) = told(tmp_path, matrix=make_matrix(llms=[given_adapter(tmp_path, modules_to_save=["lm_head"])], **groups), resources=resources)
    assert line.endswith("where weights are sharded. Use deepspeed: zero2, or `adapter: merge` of the LLM.")


def test_all_linear_layers_are_told_from_some(tmp_path: Path) -> None:
    """Of an architecture whose layers are known; else they must be left out."""
    llm = given_adapter(tmp_path, target_modules=["q_proj"])
    (line,) = told(tmp_path, matrix=make_matrix(llms=[llm], hyperparameters=[{"name": "g", "lora_target": "all"}]))
    assert "has lora_target: q_proj." in line
    FakeData(tmp_path).model("CausalLM", '{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}')
    assert found(tmp_path, matrix=make_matrix(llms=[llm], hyperparameters=[{"name": "g", "lora_target": "all"}])).llms["tuned"].architecture == "qwen3"


def test_base_that_only_rates_is_for_rating(tmp_path: Path) -> None:
    """A reward model may be trained further as one, and as nothing else."""
    llm = {"name": "rater", "source": model_in(tmp_path, "SequenceClassification"), "template": "default"}
    assert found(tmp_path, matrix=make_matrix(llms=[llm], hyperparameters=[{"name": "g", "stage": "rm"}])).llms["rater"].is_reward
    said = "'quick' does not fit 'rater': it is a reward model, which rates answers and writes none, and sft learns to write"
    assert told(tmp_path, matrix=make_matrix(llms=[llm])) == [f"the experiment: {said}. Start from a model that writes, or use stage: rm."]
