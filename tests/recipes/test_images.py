"""Rows with images: a tiny model of each architecture that sees learns from them, and is judged on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoConfig, AutoProcessor, AutoTokenizer

from dtx_tasks.dataset import RowFile
from dtx_tasks.errors import DataError
from dtx_tasks.fetch.merge import merge
from dtx_tasks.plan.architectures import SEEING
from dtx_tasks.prepare.images import ScoredSight
from dtx_tasks.prepare.measure import see_with
from dtx_tasks.prepare.record import prepared as prepared_before
from dtx_tasks.pretrained import load_writer
from dtx_tasks.records import TRAIN_FILE, EncodeOptions, PrepareDocument, ScoreCards, image_folder
from dtx_tasks.score.judge import judge
from dtx_tasks.score.likelihood import perplexities
from dtx_tasks.score.load import Loaded, load_checkpoint
from dtx_tasks.score.rows import ScoredRow, scored_rows
from dtx_tasks.sight import load_processor, load_sight
from dtx_tasks.spec import Columns, Scoring, Tags, reading_of
from dtx_tasks.storage import read_record, sha256_of
from dtx_tasks.template import IGNORED_LABEL, adapt, prompt_ids, with_images
from dtx_tasks.template.render import prompt_text
from tests.recipes.architectures import LLAVA, make_seeing
from tests.recipes.test_architectures import eyes_of
from tests.recipes.world import Trial, attempts, finish, forget, make_trial, train
from tests.recipes.world import losses as losses_by_step

if TYPE_CHECKING:
    from dtx_tasks.train.folder import JobFolder

COLOURS = {"red": (40, 60), "green": (60, 40), "blue": (30, 30), "white": (90, 30)}
"""What is shown, and how large."""

COMMON: dict[str, Any] = {"max_steps": 2, "global_batch_size": 8, "logging_steps": 1, "learning_rate": 1e-2, "eval_steps": 2}
LORA: dict[str, Any] = {"name": "lora", **COMMON, "lora_dropout": 0.0}
SCORING = Scoring(name="some", batch_size=4)
FULL: dict[str, Any] = {"name": "full", **COMMON, "finetuning_type": "full", "gradient_checkpointing": True}


def write_rows(folder: Path, colours: dict[str, str] | None = None) -> None:
    """Eight rows that ask for the colours of one image, of two, and of none; `colours` are what is really shown."""
    for name, size in COLOURS.items():
        Image.new("RGB", size, (colours or {}).get(name, name)).save(folder / f"{name}.png")
    rows = [{"instruction": "<image>Which colour?", "output": name, "images": [f"{name}.png"]} for name in COLOURS]
    rows += [
        {"instruction": f"First <image>, then <image>. {name}", "output": f"{name}, blue", "images": [f"{name}.png", "blue.png"]}
        for name in ("red", "green", "white")
    ]
    written(folder, "rows.jsonl", *rows, {"instruction": "Hi", "output": "Ho"})


def make_trial_with_images(
    folder: Path,
    architecture: str,
    *groups: dict[str, Any],
    llm: dict[str, Any] | None = None,
    splits: dict[str, str] | None = None,
    others: tuple[dict[str, Any], ...] = (),
    scoring: dict[str, Any] | None = None,
    **resources: Any,
) -> Trial:
    """An experiment on the model in `base`, or on `llm`, and on `rows.jsonl`, which both splits are unless `splits` names others."""
    data = {"name": "rows", "columns": {"images": "images"}, **(splits or {"train": "rows.jsonl", "validation": "rows.jsonl"})}
    matrix = {"llms": [llm or {"name": "tiny", "source": "base", "template": architecture}], "datasets": [data, *others], "hyperparameters": list(groups)}
    judged = {"metrics": ["exact_match", "perplexity"], "max_new_tokens": 4, **(scoring or {})}
    changes = {"scoring": judged, "selection": {"metric": judged["metrics"][-1]}, "resources": resources}
    return make_trial(folder, matrix=matrix, allow_leakage="the test compares nothing", **changes)


def written(folder: Path, name: str, *rows: dict[str, Any]) -> str:
    """The name of a file with these rows."""
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return name


def prepared(folder: Path, architecture: str, *groups: dict[str, Any], **changes: Any) -> Trial:
    """The same with everything but its training done."""
    make_seeing(architecture, folder / "base", **changes)
    write_rows(folder)
    return make_trial_with_images(folder, architecture, *groups).ready()


def losses(folder: JobFolder, event: str = "step") -> list[float]:
    """Of each step, or of each `validation`."""
    return [line["loss"] for line in map(json.loads, Path(folder.events_uri).read_text().splitlines()) if line["event"] == event]


def remembered_models(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Models as they are saved at the end."""
    found: list[Any] = []
    save = transformers.Trainer.save_model

    def remember(trainer: transformers.Trainer, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not _internal_call:
            found.append(trainer.model)
        save(trainer, output_dir, _internal_call)

    monkeypatch.setattr(transformers.Trainer, "save_model", remember)
    return found


def shown_rows(made: Trial) -> tuple[ScoredRow, ...]:
    """The rows to score on."""
    return scored_rows(made.plan.scoring, made.layout).rows


@pytest.mark.parametrize("group", [LORA, FULL], ids=["lora", "full"])
@pytest.mark.parametrize("architecture", [pytest.param(name, marks=[] if name == "llava" else [pytest.mark.slow]) for name in sorted(SEEING)])
def test_rows_with_images_are_learned(architecture: str, group: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss falls, what sees stays as it is; the checkpoint loads again with its processor, and finds the rows as likely as training did at its end."""
    made = prepared(tmp_path, architecture, group)
    (job,) = made.plan.jobs
    trained = remembered_models(monkeypatch)
    folder = train(job, made.layout, tmp_path / "work", micro_batch_size=2)
    first, last = losses(folder)
    assert last < first
    is_adapter = group is LORA
    loaded = load_checkpoint(folder.llm_path if is_adapter else folder.final, folder.final, folder.final if is_adapter else None)
    assert loaded.sight is not None
    known = Loaded(trained[0].eval(), loaded.tokenizer, loaded.sight)
    found, wanted = (torch.tensor(perplexities(model, shown_rows(made), SCORING)).log() for model in (loaded, known))
    assert torch.allclose(found, wanted, rtol=1e-4)
    assert losses(folder, "validation")[-1] == pytest.approx(found.mean().item(), rel=1e-4)
    assert eyes_of(loaded.model) == eyes_of(load_writer(tmp_path / "base"))


@pytest.mark.parametrize("architecture", sorted(SEEING))
def test_answer_is_not_seen_before_it_is_written(architecture: str, tmp_path: Path) -> None:
    """A row of text is as likely alone as beside longer ones, and its first tokens as they are without the rest."""
    model = load_writer(make_seeing(architecture, tmp_path)).eval()
    row, pad = torch.arange(4, 14)[None], torch.zeros(1, 5, dtype=torch.long)
    with torch.inference_mode():
        alone = model(input_ids=row).logits
        mask = torch.cat([torch.ones_like(row), pad], 1)
        padded = model(input_ids=torch.cat([row, pad], 1), attention_mask=mask).logits[:, :10]
        begun = model(input_ids=row[:, :6]).logits
    assert torch.allclose(alone, padded, atol=1e-5)
    assert torch.allclose(alone[:, :6], begun, atol=1e-5)


@pytest.mark.parametrize("architecture", sorted(SEEING - {"paligemma"}))
def test_images_are_never_learned(architecture: str, tmp_path: Path) -> None:
    """Not even where the questions are."""
    made = prepared(tmp_path, architecture, {**LORA, "train_on_prompt": True})
    rows = Dataset.from_file(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files/{TRAIN_FILE}")
    config = AutoConfig.from_pretrained(tmp_path / "base")
    hidden = [[token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED_LABEL] for row in rows]
    assert [len(row["image_files"]) for row in rows] == [1, 1, 1, 1, 2, 2, 2, 0]
    assert [bool(tokens) for tokens in hidden] == [True] * 7 + [False]
    assert {token for tokens in hidden for token in tokens} == {config.image_token_id}


def test_eyes_of_a_given_adapter_stay_as_they_are(tmp_path: Path) -> None:
    """One that was trained elsewhere may have changed what sees: that is kept, and the language alone learns."""
    base = make_seeing("llava", tmp_path / "base")
    model = get_peft_model(load_writer(base), LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    model.save_pretrained(tmp_path / "given")
    write_rows(tmp_path)
    given = {"name": "given", "source": "given", "base": "base", "template": "llava", "adapter": "continue"}
    made = make_trial_with_images(tmp_path, "llava", {"name": "lora", **COMMON}, llm=given).ready()
    folder = train(made.plan.jobs[0], made.layout, tmp_path / "work", micro_batch_size=2)
    before, after = (load_file(place / "adapter_model.safetensors") for place in (tmp_path / "given", folder.final))
    found = {("vision_tower" in name, torch.equal(weight, after[name])) for name, weight in before.items()}
    assert found == {(True, True), (False, False)}


def test_exported_model_sees(tmp_path: Path) -> None:
    """A merged adapter brings its processor, and finds the same."""
    made = prepared(tmp_path, "llava", LORA)
    folder = train(made.plan.jobs[0], made.layout, tmp_path / "work")
    merge(folder.final, folder.llm_path, tmp_path / "merged")
    models = load_checkpoint(tmp_path / "merged", tmp_path / "merged"), load_checkpoint(folder.llm_path, folder.final, folder.final)
    found, wanted = (perplexities(model, shown_rows(made), SCORING) for model in models)
    assert found == pytest.approx(wanted, rel=1e-4)


def test_row_with_an_image_is_shown_before_it_is_learned(tmp_path: Path) -> None:
    """By a tokenizer alone: an image is its place."""
    write_rows(tmp_path)
    row = next(iter(RowFile(tmp_path / "rows.jsonl", "rows.jsonl", reading_of("alpaca", "conversations", Columns(images="images"), Tags()))))
    seen = see_with(make_seeing("llava", tmp_path / "base"), "llava", EncodeOptions(cutoff_len=999))(row)
    assert [text for text, is_learned in seen.pieces if is_learned] == ["red<|im_end|>"]
    assert seen.pieces[0][0].endswith("USER: <image>Which colour? ASSISTANT:")


@pytest.mark.slow
def test_quantised_model_sees(tmp_path: Path) -> None:
    """An adapter on a base in 4 bits learns from images too."""
    # Blocks of 64 weights share their scale.
    wide = {part: {**LLAVA[part], "hidden_size": 64, "intermediate_size": 128} for part in ("text_config", "vision_config")}
    made = prepared(tmp_path, "llava", {**LORA, "quantization_bit": 4}, **wide)
    first, last = losses(train(made.plan.jobs[0], made.layout, tmp_path / "work", micro_batch_size=2))
    assert last < first


@pytest.mark.parametrize("architecture", [pytest.param(name, marks=[] if name == "llava" else [pytest.mark.slow]) for name in sorted(SEEING)])
def test_image_is_seen(architecture: str, tmp_path: Path) -> None:
    """Where another is shown under the same name, all identities are others, the first loss is another, and so is what scoring finds."""
    before = prepared(tmp_path, architecture, LORA)
    write_rows(tmp_path, {"red": "black", "blue": "yellow"})
    after = make_trial_with_images(tmp_path, architecture, LORA).ready()
    assert before.plan.plan_id != after.plan.plan_id
    assert before.plan.jobs[0].job_id != after.plan.jobs[0].job_id
    assert before.plan.scoring.scoring_id != after.plan.scoring.scoring_id
    assert len({row.row_id for made in (before, after) for row in shown_rows(made)}) == 8 + 5
    first, second = (losses(train(made.plan.jobs[0], made.layout, tmp_path / made.plan.plan_id))[0] for made in (before, after))
    assert abs(first - second) > 1e-5
    base = load_checkpoint(tmp_path / "base", Path(after.layout.prepared(after.plan.prepared[0].prepared_id)) / "files/tokenizer")
    asked = [next(row for row in shown_rows(made) if row.answer == "red") for made in (before, after)]
    assert abs(perplexities(base, asked[:1], SCORING)[0] - perplexities(base, asked[1:], SCORING)[0]) > 1e-3


@pytest.mark.parametrize("architecture", [pytest.param(name, marks=[] if name == "llava" else [pytest.mark.slow]) for name in sorted(SEEING)])
def test_verdict_is_of_what_is_shown(architecture: str, tmp_path: Path) -> None:
    """All are asked the same, so that only who sees can answer: after some steps all answers are right, one at a time and many at once."""
    made = prepared(tmp_path, architecture, {**FULL, "max_steps": 80, "lr_scheduler_type": "constant"})
    folder = train(made.plan.jobs[0], made.layout, tmp_path / "work", micro_batch_size=8)
    loaded = load_checkpoint(folder.final, folder.final)
    rows = [row for row in shown_rows(made) if row.answer in COLOURS]
    assert len(rows) == len(COLOURS)
    assert len({str(row.messages) for row in rows}) == 1
    for batch_size in (1, 8):
        judged = judge(loaded, rows, Scoring(name="some", batch_size=batch_size, max_new_tokens=6))
        assert [(result.prediction, result.scores["exact_match"]) for result in judged] == [(row.answer, 1.0) for row in rows]


def test_base_is_scored_on_images(tmp_path: Path) -> None:
    """By the stage, from what was prepared: every row has a verdict."""
    made = prepared(tmp_path, "llava", LORA)
    assert made.here("score_base", made.uris.bases[0]) == 0
    cards = read_record(f"{made.layout.score(made.plan.bases[0].llm.llm_id, made.plan.scoring.scoring_id)}/scores.json", ScoreCards)
    assert cards is not None
    assert sum(card.num_rows for card in cards.cards.values()) == 8
    assert "pillow" in cards.libraries
    path = f"{made.layout.score(made.plan.bases[0].llm.llm_id, made.plan.scoring.scoring_id)}/files/predictions.jsonl"
    shown = {row["reference"]: row.get("images") for row in map(json.loads, Path(path).read_text().splitlines())}
    digests = {name: sha256_of(tmp_path / f"{name}.png") for name in COLOURS}
    assert (shown["red"], shown["green, blue"], shown["Ho"]) == ([digests["red"]], [digests["green"], digests["blue"]], None)


@pytest.mark.parametrize("architecture", sorted(SEEING))
def test_model_is_asked_as_its_processor_asks(architecture: str, tmp_path: Path) -> None:
    """To the token and to the pixel. That of Qwen2-VL as a whole needs torchvision, which is not installed: it is asked without its videos."""
    folder = make_seeing(architecture, tmp_path / "base")
    processor = load_processor(folder, architecture) if architecture == "qwen2_vl" else AutoProcessor.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    adapt(tokenizer, architecture)
    sight = load_sight(folder, architecture, tokenizer)
    assert sight is not None
    image = Image.effect_noise((40, 60), 50).convert("RGB")
    messages = [{"role": "user", "content": "<image>What?"}]
    ids = prompt_ids(tokenizer, with_images(messages, sight.texts([image])))
    place = "<|vision_start|><|image_pad|><|vision_end|>" if architecture == "qwen2_vl" else "<image>"
    # PaliGemma's own writes bos and the line break itself.
    text = "<image>What?" if architecture == "paligemma" else prompt_text(tokenizer, with_images(messages, [place]))
    wanted = processor(images=[image], text=[text], return_tensors="pt", add_special_tokens=False)
    found = sight.inputs([[image]], torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
    assert ids == wanted["input_ids"][0].tolist()
    assert found.keys() == wanted.keys() - {"input_ids", "attention_mask", "labels"}
    assert all(torch.equal(values, wanted[name]) for name, values in found.items())


def test_rows_that_cannot_be_seen_are_refused(tmp_path: Path) -> None:
    """With the row: an image that is none, half an image, one that was exchanged, and one that is gone."""
    make_seeing("llava", tmp_path / "base")
    write_rows(tmp_path)
    made = make_trial_with_images(tmp_path, "llava", LORA, {**LORA, "name": "short", "cutoff_len": 8})
    for uri in made.uris.bases:
        made.here("fetch", uri)
    long, short = sorted(made.uris.prepare, key=lambda uri: -(read_record(uri, PrepareDocument) or made.plan.prepared[0]).options.cutoff_len)
    told = "rows.jsonl:1: row: its images take 4 tokens, of which [0-3] are left at a cutoff_len of 8. Half an image cannot be seen: raise cutoff_len"
    with pytest.raises(DataError, match=told):
        made.here("prepare", short)
    (tmp_path / "green.png").write_text("no image")
    with pytest.raises(DataError, match=r"rows.jsonl:2: row: green.png has changed since the experiment was planned. Start the experiment again."):
        made.here("prepare", long)
    (tmp_path / "green.png").unlink()
    with pytest.raises(DataError, match=r"rows.jsonl:2: row: green.png is not there any more. Put it back, or start the experiment again."):
        made.here("prepare", long)
    (tmp_path / "green.png").write_text("no image")
    again = make_trial_with_images(tmp_path, "llava", LORA)
    with pytest.raises(DataError, match=r"rows.jsonl:2: row: an image cannot be read: cannot identify image file .* Write it anew, as PNG or JPEG."):
        again.here("prepare", again.uris.prepare[0])


SHOWN = {"instruction": "<image>Which colour?", "output": "red", "images": ["red.png"]}
"""A row that can be learned."""


def fetched(folder: Path, architecture: str, **changes: Any) -> Trial:
    """An experiment with its base on storage, and nothing prepared."""
    made = make_trial_with_images(folder, architecture, {**LORA, "eval_steps": None}, **changes)
    made.here("fetch", made.uris.bases[0])
    return made


def test_limit_of_scoring_is_known_before_training(tmp_path: Path) -> None:
    """Where it cuts an image off, even if the rows were prepared for another experiment before: nothing is trained. Answers that are written have no limit."""
    make_seeing("llava", tmp_path / "base")
    write_rows(tmp_path)
    short = {"scoring": {"cutoff_len": 8}}
    cut, whole = fetched(tmp_path, "llava", **short), fetched(tmp_path, "llava")
    told = r"rows.jsonl:1: row: its images take 4 tokens, of which [0-3] are left at a scoring.cutoff_len of 8. Half an image .*: raise scoring.cutoff_len, or"
    whole.ready()
    assert cut.plan.prepared[0].prepared_id == whole.plan.prepared[0].prepared_id
    assert prepared_before(whole.plan.prepared[0], whole.layout) is not None
    assert prepared_before(cut.plan.prepared[0], cut.layout) is None
    with pytest.raises(DataError, match=told):
        cut.here("prepare", cut.uris.prepare[0])
    with pytest.raises(DataError, match=told):
        cut.here("train", cut.uris.packs[0])
    assert attempts(cut) == []
    unlimited = fetched(tmp_path, "llava", scoring={"cutoff_len": 8, "metrics": ["exact_match"]})
    assert prepared_before(unlimited.plan.prepared[0], unlimited.layout) is not None


def test_scoring_names_the_row_that_it_cannot_show(tmp_path: Path) -> None:
    """Whoever prepared it: one whose image would be cut off, and plain text that holds the token of an image beside one that has an image."""
    made = prepared(tmp_path, "llava", LORA)
    folder = Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files/tokenizer")
    loaded = load_checkpoint(tmp_path / "base", folder)
    (row,) = (row for row in shown_rows(made) if row.answer == "red")
    with pytest.raises(DataError, match=rf"the {row.split} row {row.row_id}: its images take 4 tokens, of which [0-3] are left at a scoring.cutoff_len of 8."):
        perplexities(loaded, [row], Scoring(name="some", cutoff_len=8))
    text = ScoredRow("t1", "test", [], "a <image> b")
    with pytest.raises(DataError, match=r"the test row t1: its text holds <image>, which stands for an image, and there is none."):
        perplexities(loaded, [row, text], SCORING)


def test_what_is_prepared_can_be_scored(tmp_path: Path) -> None:
    """At every limit both find the same rows whole."""
    made = prepared(tmp_path, "llava", LORA)
    files = Path(f"{made.layout.prepared(made.plan.prepared[0].prepared_id)}/files")
    loaded = load_checkpoint(tmp_path / "base", files / "tokenizer")
    rows = RowFile(tmp_path / "rows.jsonl", "rows.jsonl", reading_of("alpaca", "conversations", Columns(images="images"), Tags()))
    row = next(row for row in rows if row.answer == "red, blue")
    row = replace(row, files={"images": [sha256_of(tmp_path / name) for name in row.files["images"]]})
    (scored,) = (scored for scored in shown_rows(made) if scored.answer == "red, blue")

    def is_prepared(limit: int) -> bool:
        try:
            return bool(list(ScoredSight(loaded.tokenizer, loaded.sight, limit).passed([row], "rows.jsonl", files / image_folder("validation"))))
        except DataError:
            return False

    def is_scored(limit: int) -> bool:
        try:
            return bool(perplexities(loaded, [scored], Scoring(name="some", cutoff_len=limit)))
        except DataError:
            return False

    limits = range(8, 160, 8)
    found = [is_prepared(limit) for limit in limits]
    assert found == [is_scored(limit) for limit in limits]
    assert set(found) == {True, False}


def test_image_to_score_on_is_looked_at_before_training(tmp_path: Path) -> None:
    """Of the test split too, which nothing else reads: one that is none, and one that the model's processor refuses."""
    make_seeing("qwen2_vl", tmp_path / "base")
    write_rows(tmp_path)
    splits = {"train": "rows.jsonl", "test": written(tmp_path, "test.jsonl", SHOWN, {**SHOWN, "images": ["odd.png"]})}
    (tmp_path / "odd.png").write_text("no image")
    made = fetched(tmp_path, "qwen2_vl", splits=splits)
    with pytest.raises(DataError, match=r"test.jsonl:2: row: an image cannot be read: cannot identify image file"):
        made.here("prepare", made.uris.prepare[0])
    Image.new("RGB", (600, 2)).save(tmp_path / "odd.png")
    again = fetched(tmp_path, "qwen2_vl", splits=splits)
    with pytest.raises(DataError, match=r"test.jsonl:2: row: the model's processor refuses an image \(600 x 2 pixels\): absolute aspect ratio must be"):
        again.here("prepare", again.uris.prepare[0])


@pytest.mark.parametrize("test", [None, "words.jsonl"])
def test_token_of_images_in_text_is_told(tmp_path: Path, test: str | None) -> None:
    """Of a Dataset without images too, since everything is scored on all rows; wherever it stands."""
    make_seeing("qwen2_vl", tmp_path / "base")
    write_rows(tmp_path)
    written(tmp_path, "words.jsonl", {"instruction": "a", "output": "b"}, {"instruction": "What is <|image_pad|>?", "output": "A token."})
    good = written(tmp_path, "good.jsonl", {"instruction": "c", "output": "d"})
    words = {"name": "words", "train": good, "test": test} if test else {"name": "words", "train": "words.jsonl"}
    made = fetched(tmp_path, "qwen2_vl", others=(words,))
    uri = next(uri for uri in made.uris.prepare if "words" in uri.rpartition("/")[2])
    with pytest.raises(DataError, match=r"words.jsonl:2: row: The text holds <\|image_pad\|>, which stands for a file in the template qwen2_vl"):
        made.here("prepare", uri)


@pytest.mark.parametrize("gone", ["patch_size", "image_processor"])
def test_base_that_does_not_say_how_it_sees_is_refused(tmp_path: Path, gone: str) -> None:
    """LLaVA's processor needs the size of a patch, and something must make pixels: what makes them of videos does not."""
    folder = make_seeing("llava", tmp_path / "base")
    write_rows(tmp_path)
    if gone == "patch_size":
        (folder / "processor_config.json").unlink()
    else:
        (folder / "preprocessor_config.json").rename(folder / "video_preprocessor_config.json")
    made = fetched(tmp_path, "llava")
    with pytest.raises(DataError, match=r"The base model's files do not say how it takes in images: .* \(patch_size\). Take a base model that has them."):
        made.here("prepare", made.uris.prepare[0])


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("strategy", [{}, {"deepspeed": "zero2"}], ids=["ddp", "zero2"])
def test_two_processes_learn_from_images_what_one_learns(tmp_path: Path, needs_compiler: None, strategy: dict[str, str]) -> None:
    """Though a batch of one row may have no image; and what they write is scored."""
    group = {**FULL, "max_steps": 6, "per_device_train_batch_size": 1}
    alone = prepared(tmp_path, "llava", group)
    assert finish(alone.process("train", alone.uris.packs[0])) == 0
    expected = losses_by_step(alone)
    forget(alone)
    together = make_trial_with_images(tmp_path, "llava", group, processes=2, cpus=1, **strategy)
    assert together.plan.jobs[0].job_id == alone.plan.jobs[0].job_id
    assert finish(together.process("train", together.uris.packs[0])) == 0
    assert losses_by_step(together) == pytest.approx(expected, rel=1e-5)
    assert together.here("score", together.uris.packs[0]) == 0
