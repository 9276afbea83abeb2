"""From text to a spec: what a person is told about every kind of mistake."""

import json
import re
from typing import Any

import pytest

from dtx_tasks.errors import SpecError
from dtx_tasks.spec import LLM, FinetuneExperiment, HyperparameterGroup, load_text, parse
from tests.builders import EXPERIMENT

HEAD = "name: x\nmatrix: {llms: [a], datasets: [d], hyperparameters: [g]}\n"
KEYS = "allow_leakage, description, jobs, kind, matrix, name, parallelism, registered_name, resources, schedule, scoring, selection, team"


def load(text: str, name: str = "e.yaml") -> FinetuneExperiment:
    return parse(load_text(text, name), FinetuneExperiment)


def load_group(text: str) -> HyperparameterGroup:
    return parse(load_text(f"name: g\n{text}\n", "g.yaml"), HyperparameterGroup)


def mistakes(text: str, name: str = "e.yaml") -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(text, name)
    return str(caught.value).splitlines()


def group_mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_group(text)
    return str(caught.value).splitlines()


def test_unknown_key_is_answered_with_the_nearest_one() -> None:
    """A misspelt key is told with its line, the nearest key and all that exist."""
    assert mistakes(f"{HEAD}paralelism: 3\n") == [f"e.yaml:3: paralelism: is not a known key (got 3). Did you mean 'parallelism'? Known: {KEYS}."]


def test_missing_key_is_answered_with_a_sample() -> None:
    """A missing key is told with its description and an example."""
    text = HEAD.replace("[d]", "[{name: d}]")
    remedy = "A file or a folder to learn from, here or at an address; a relative path counts from the file that names it. 训练集 For example `train: data/train.jsonl`."
    assert mistakes(text) == [f"e.yaml:2: matrix.datasets[0].train: is missing. {remedy}"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("learning_rate: fast", "learning_rate: must be a number (got 'fast'). The peak learning rate. 学习率"),
        ("learning_rate: '3'", "learning_rate: must be a number (got '3'). Write it without quotes."),
        ("learning_rate: no", "learning_rate: must be a number (got 'no'). The peak learning rate. 学习率"),
        ("lora_rank: 3.0", "lora_rank: must be a whole number (got 3.0). Rank of the adapters. LoRA 秩"),
        ("lora_rank: '3'", "lora_rank: must be a whole number (got '3'). Write it without quotes."),
        ("lora_rank: true", "lora_rank: must be a whole number (got True). Rank of the adapters. LoRA 秩"),
        ("description: 5", "description: must be text (got 5). What a reader should know about it."),
        ("description: [a]", "description: must be text (got ['a']). What a reader should know about it."),
    ],
)
def test_wrong_type_is_told_in_words(line: str, told: str) -> None:
    """A value of another type is never turned into the right one."""
    assert group_mistakes(line) == [f"g.yaml:2: {told}"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("learning_rate: 0", "learning_rate: must be greater than 0.0 (got 0). The peak learning rate. 学习率"),
        ("learning_rate: 1.5", "learning_rate: must be at most 1.0 (got 1.5). The peak learning rate. 学习率"),
        ("lora_rank: 0", "lora_rank: must be at least 1 (got 0). Rank of the adapters. LoRA 秩"),
        ("lora_dropout: 1", "lora_dropout: must be less than 1.0 (got 1). Dropout before the adapters. LoRA 随机丢弃"),
        ("max_grad_norm: .inf", "max_grad_norm: must be a finite number (got inf). Gradients are clipped to this norm; 0 turns clipping off. 最大梯度范数"),
        ("max_grad_norm: 1e999", "max_grad_norm: must be a finite number (got inf). Gradients are clipped to this norm; 0 turns clipping off. 最大梯度范数"),
        ("learning_rate: .nan", "learning_rate: must be a finite number (got nan). The peak learning rate. 学习率"),
        ("lora_target: ''", "lora_target: must not be empty (got ''). `all` linear layers, or module names separated by commas. LoRA 作用模块"),
    ],
)
def test_value_out_of_range_is_told_with_its_bound(line: str, told: str) -> None:
    """A number beyond its bound, infinity and NaN are refused."""
    assert group_mistakes(line) == [f"g.yaml:2: {told}"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("0", "must be at least 1 (got 0)"),
        ("0.0", "must be greater than 0.0 (got 0.0)"),
        ("1.0", "must be less than 1.0 (got 1.0)"),
        ("true", "must be a whole number (got True)"),
        ("a tenth", "must be a number (got 'a tenth')"),
    ],
)
def test_size_of_a_validation_split_is_a_share_or_a_number(written: str, told: str) -> None:
    """As in LLaMA-Factory, where 1.0 would be a row or all of them."""
    (line,) = group_mistakes(f"val_size: {written}")
    assert line.startswith(f"g.yaml:2: val_size: {told}. A share (0.1) or a number (200) of rows")


def test_bad_choice_is_answered_with_the_nearest_one() -> None:
    """A value that is none of the choices is told with all of them."""
    told = "is not one of the choices (got 'lorra'). Did you mean 'lora'? Known: freeze, full, ia3, lora, p_tuning, prefix_tuning, prompt_tuning."
    assert group_mistakes("finetuning_type: lorra") == [f"g.yaml:2: finetuning_type: {told}"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("finetuning_type: qlora", "is not one of the choices (got 'qlora'). QLoRA is `finetuning_type: lora` with `quantization_bit: 4`."),
        ("bf16: true", "is not a known key (got True). Write `compute_type: bf16`."),
        ("fp16: true", "is not a known key (got True). Write `compute_type: fp16`."),
        ("load_in_4bit: true", "is not a known key (got True). Write `quantization_bit: 4`."),
        ('learning_rate: "1e-4"', "must be a number (got '1e-4'). Write it without quotes."),
        ('lora_rank: "8"', "must be a whole number (got '8'). Write it without quotes."),
        ("use_dora: 'true'", "must be true or false (got 'true'). Write it without quotes."),
    ],
)
def test_what_other_programs_would_take_is_answered_with_what_is_meant(line: str, told: str) -> None:
    """In the words that are right here."""
    assert group_mistakes(line) == [f"g.yaml:2: {line.partition(':')[0]}: {told}"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "a model of the hub is written `{name: Qwen2.5-7B-Instruct, source: hf://Qwen/Qwen2.5-7B-Instruct}`."),
        ("ms://Qwen/Q", "a model that has no name yet is written `{name: Q, source: ms://Qwen/Q}`."),
        ("./models/mine", "a model that has no name yet is written `{name: mine, source: ./models/mine}`."),
    ],
)
def test_model_with_a_slash_is_answered_with_how_it_is_defined(written: str, kept: str) -> None:
    """Other programs take the name of a hub where a name stands here."""
    problem = f"holds characters that are not allowed here (got '{written}')"
    assert mistakes(HEAD.replace("llms: [", f"llms: [{written}, ")) == [f"e.yaml:2: matrix.llms[0]: {problem}. Names have no slash: {kept}"]


def test_wrong_kind_of_file_is_told() -> None:
    """A file of another kind says so."""
    told = "is not one of the choices (got 'Job'). Known: FinetuneExperiment."
    assert mistakes(f"kind: Job\n{HEAD}") == [f"e.yaml:1: kind: {told}"]


@pytest.mark.parametrize("value", ["5", "null", "[b]"])
def test_reference_of_another_type_is_told(value: str) -> None:
    """Where a name or a definition belongs, nothing else is taken."""
    (told,) = mistakes(HEAD.replace("[a]", f"[{value}]"))
    assert told.startswith("e.yaml:2: matrix.llms[0]: must be a name or a definition (got ")


def test_text_in_place_of_a_list_is_told() -> None:
    """One name where a list belongs is not taken for a list of letters."""
    told = "must be a list (got 'a'). Base LLMs, by name or defined in place. 基座模型"
    assert mistakes(HEAD.replace("[a]", "a")) == [f"e.yaml:2: matrix.llms: {told}"]


def test_empty_axis_is_told() -> None:
    """An axis without a value is a mistake."""
    told = "must not be empty (got []). Base LLMs, by name or defined in place. 基座模型"
    assert mistakes(HEAD.replace("[a]", "[]")) == [f"e.yaml:2: matrix.llms: {told}"]


def test_list_in_place_of_a_mapping_is_told() -> None:
    """A list where a mapping belongs is a mistake."""
    assert mistakes("name: x\nmatrix: [a]\n") == ["e.yaml:2: matrix: must be a mapping (got ['a']). The jobs as a product. 任务矩阵"]


def test_duplicate_key_in_yaml_is_told_with_its_second_line() -> None:
    """A key that stands twice is refused: YAML itself would keep the last one."""
    assert mistakes(f"{HEAD}name: y\n") == ["e.yaml:3: name: stands twice. Keep one of them."]


def test_duplicate_key_below_is_told_with_its_path() -> None:
    """The same holds below the top."""
    assert mistakes("name: x\nmatrix:\n  llms: [a]\n  llms: [b]\n") == ["e.yaml:4: matrix.llms: stands twice. Keep one of them."]


def test_duplicate_key_in_json_is_told() -> None:
    """A key that stands twice in a JSON file is refused too."""
    assert mistakes('{"name": "x", "name": "y"}', "e.json") == ["e.json: name: stands twice. Keep one of them."]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('name: "x\n', 2, "found unexpected end of stream"),
        ("name: x\n\tb: 1\n", 2, "found character '\\t' that cannot start any token"),
        ("name: [x\n", 2, "expected ',' or ']', but got '<stream end>'"),
        ("name: x\n---\nname: y\n", 2, "but found another document"),
        ("name: *other\n", 1, "found undefined alias 'other'"),
        ("name: !!binary abcd\n", 1, "could not determine a constructor for the tag 'tag:yaml.org,2002:binary'"),
        ("name: !!python/object/apply:os.system [ls]\n", 1, "could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    ],
)
def test_text_that_is_not_yaml_is_told_with_its_line(text: str, line: int, problem: str) -> None:
    """A syntax error names the line; a tag that makes objects is one."""
    assert mistakes(text) == [f"e.yaml:{line}: this is not YAML: {problem}. Check the indentation and the quotes."]


@pytest.mark.parametrize("text", ["name: a\x00b\n", "parallelism: !!float abc\n", f"parallelism: {'1' * 5000}\n", "parallelism: !!bool maybe\n"])
def test_scalar_that_cannot_be_read_is_no_bug(text: str) -> None:
    """What Python cannot make of a scalar is the author's mistake."""
    (told,) = mistakes(text)
    assert told.startswith("e.yaml: this is not YAML: ")


def test_text_that_is_not_json_is_told_with_its_line() -> None:
    """A syntax error of a JSON file names the line."""
    assert mistakes('{"name": "x",\n "matrix":}', "e.json") == ["e.json:2: this is not JSON: Expecting value."]


def test_number_too_long_for_json_is_told() -> None:
    """A number of thousands of digits is the author's mistake."""
    (told,) = mistakes(f'{{"parallelism": {"1" * 5000}}}', "e.json")
    assert told.startswith("e.json: this is not JSON: Exceeds the limit")


@pytest.mark.parametrize(
    ("text", "found"), [("", "nothing"), ("# only a comment\n", "nothing"), ("- a\n", "a list"), ("experiment\n", "a str"), ("5\n", "a int")]
)
def test_file_that_is_no_mapping_is_told(text: str, found: str) -> None:
    """An empty file, a list and a scalar are no experiment."""
    assert mistakes(text) == [f"e.yaml: the file holds {found}. It must be a mapping, beginning with `kind: FinetuneExperiment`."]


def test_unquoted_braces_are_told() -> None:
    """YAML reads `{{name}}` without quotes as a mapping whose key is a mapping."""
    assert mistakes("name: {{name}}\n") == ["e.yaml:1: name: a key must be text. Put text with braces or brackets in quotes."]


@pytest.mark.parametrize("name", ["e.yaml", "e.json"])
def test_half_a_surrogate_pair_is_told(name: str) -> None:
    """An escape that is no character cannot be written to any file."""
    (told,) = mistakes('{"name": "\\ud800"}', name)
    assert told.endswith("holds half a surrogate pair such as \\ud800, or is nested too deeply. Write the character itself.")


@pytest.mark.parametrize(("text", "name"), [("name: &a [*a]\n", "e.yaml"), (f"name: {'[' * 3000}", "e.yaml"), (f'{{"name": {"[" * 100000}', "e.json")])
def test_endless_nesting_is_told(text: str, name: str) -> None:
    """A value within itself, or brackets without end, are refused."""
    assert mistakes(text, name) == [f"{name}: is nested too deeply. No experiment needs more than ten levels."]


def test_aliases_that_multiply_are_told() -> None:
    """A few lines that stand for billions of values are refused before they are spelt out."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert mistakes(bomb) == ["e.yaml: holds more than 100000 values. Aliases of aliases multiply: write out what is meant."]


def test_all_mistakes_are_told_at_once_in_file_order() -> None:
    """Mistakes come in the order of their lines, whatever order the fields have."""
    text = "parallelism: 0\nmatrx: 5\nresources: 5\nselection: {metric: exact}\nkind: Job\n"
    places = [line.split(": ")[:2] for line in mistakes(text)]
    assert places == [
        ["e.yaml:1", "name"],
        ["e.yaml:1", "parallelism"],
        ["e.yaml:2", "matrx"],
        ["e.yaml:3", "resources"],
        ["e.yaml:4", "selection.metric"],
        ["e.yaml:5", "kind"],
    ]


def test_deep_place_is_told_by_its_path_and_line() -> None:
    """A mistake in a definition in place names the list, the index and the key, and no tag of a union."""
    text = "name: x\nmatrix:\n  llms: [a]\n  datasets: [d]\n  hyperparameters:\n    - name: g\n      lora_rank: 0\n"
    assert mistakes(text) == ["e.yaml:7: matrix.hyperparameters[0].lora_rank: must be at least 1 (got 0). Rank of the adapters. LoRA 秩"]


def test_place_below_jobs_is_told_by_its_path() -> None:
    """The second job's group is `jobs[1].hyperparameters`."""
    jobs = [{"llm": "a", "dataset": "d", "hyperparameters": group} for group in ("g", {"name": "h", "seed": 1})]
    (told,) = mistakes(json.dumps({"name": "x", "jobs": jobs}), "e.json")
    assert told.startswith("e.json: jobs[1].hyperparameters.seed: is not a known key (got 1).")


@pytest.mark.parametrize("key", ["<script>", "a[b]", "a.b", "a[", "]", "<<x"])
@pytest.mark.parametrize("name", ["e.json", "e.yaml"])
def test_strange_keys_are_told_as_they_are(key: str, name: str) -> None:
    """A key that looks like a path or a tag is told like any other."""
    (told,) = mistakes(json.dumps({**EXPERIMENT, key: 1}), name)
    assert f": {key}: is not a known key (got 1)." in told


def test_no_python_location_is_told() -> None:
    """Nothing in a message comes from the validator's own names."""
    told = "\n".join(mistakes(HEAD.replace("[a]", "[{name: 5}]").replace("[g]", "[{}]")))
    assert not re.search(r"<name>|<definition>|tuple|pydantic|Input should", told)


def test_merge_key_takes_the_other_mapping_over() -> None:
    """YAML's `<<` works, and what it brings is checked where it lands."""
    text = "name: x\njobs:\n  - &first {llm: a, dataset: d, hyperparameters: g}\n  - <<: *first\n    seed: 7\n"
    assert [(job.llm, job.seed) for job in load(text).jobs] == [("a", 42), ("a", 7)]


@pytest.mark.parametrize(("written", "value"), [("1e-4", 1e-4), ("1E-4", 1e-4), ("1.0e-4", 1e-4), (".5", 0.5), ("1", 1.0), ("+0.5", 0.5)])
def test_number_is_a_number_however_it_is_written(written: str, value: float) -> None:
    """`1e-4` is a number, which YAML 1.1 denies."""
    assert load_group(f"learning_rate: {written}").learning_rate == value


@pytest.mark.parametrize(("written", "value"), [("010", 10), ("09", 9), ("+3", 3)])
def test_leading_zero_means_nothing(written: str, value: int) -> None:
    """`010` is ten, which YAML 1.1 reads as eight."""
    assert load_group(f"lora_rank: {written}").lora_rank == value


def test_dash_is_the_default_template() -> None:
    """DataTunerX's table has a dash for models that need none of their own."""
    assert parse(load_text('name: a\nsource: b\ntemplate: "-"', "a.yaml"), LLM).template == "default"


@pytest.mark.parametrize("written", ["no", "off", "yes", "2026-01-01", "12:30:45", "0x1F", "1_000", "=", "1.2.3"])
def test_text_stays_text(written: str) -> None:
    """What YAML 1.1 makes booleans, dates and odd numbers of is text."""
    assert load_group(f"description: {written}").description == written


@pytest.mark.parametrize("text", ["识别顾客意图", "{{name}}", "{% raw %}", "a: b", "null", "<script>alert(1)</script>", "${HOME}", "😀"])
def test_user_text_is_kept_as_it_is(text: str) -> None:
    """Descriptions are never rendered, expanded or escaped."""
    assert load(json.dumps({**EXPERIMENT, "description": text})).description == text


@pytest.mark.parametrize("name", ["识别 顾客", "{{name}}", "{% x %}", "a.b-c_d", "a:b", "é", "x" * 100])
def test_names_in_any_script_are_accepted(name: str) -> None:
    """A name may hold what a person writes, templates included."""
    assert load(json.dumps({**EXPERIMENT, "name": name})).name == name


@pytest.mark.parametrize("name", ["a/b", "a\\b", " a", "a ", "a\nb", "a\x00b", "../a", "a\u2028b", "\t"])
def test_names_that_are_no_name_are_refused(name: str) -> None:
    """A slash, a line break and space at either end are refused."""
    (told,) = mistakes(json.dumps({**EXPERIMENT, "name": name}), "e.json")
    assert told == f"e.json: name: holds characters that are not allowed here (got {name!r}). The experiment's name, in any language. 实验名称"


@pytest.mark.parametrize(
    ("key", "value"), [("name", ""), ("name", "x" * 101), ("team", "Team A"), ("team", "-a"), ("registered_name", "a/b"), ("schedule", "")]
)
def test_names_out_of_form_are_refused(key: str, value: str) -> None:
    """Empty, too long, or of characters that MLflow or a path cannot hold."""
    (told,) = mistakes(json.dumps({**EXPERIMENT, key: value}), "e.json")
    assert told.startswith(f"e.json: {key}: ")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_beyond_32_bits_is_refused(seed: int) -> None:
    """Torch and NumPy take 32 bits."""
    (told,) = mistakes(json.dumps({**EXPERIMENT, "matrix": {**EXPERIMENT["matrix"], "seeds": [seed]}}), "e.json")
    assert told.startswith("e.json: matrix.seeds[0]: must be ")


def test_specs_never_change() -> None:
    """A loaded spec is immutable."""
    experiment: Any = load(HEAD)
    with pytest.raises(ValueError, match="frozen"):
        experiment.name = "y"


def test_json_and_yaml_mean_the_same() -> None:
    """One spec, two notations."""
    assert load(json.dumps(EXPERIMENT), "e.json") == load(json.dumps(EXPERIMENT), "e.yaml")
