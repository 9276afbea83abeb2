"""Which files a spec may mean, and what is found in them."""

from pathlib import Path
from typing import Any

import pytest

from dtx_tasks.errors import Mistake
from dtx_tasks.records import DatasetSource, LLMSource
from dtx_tasks.resolve.files import Allowed, ResolvedDataset, resolve_dataset
from dtx_tasks.resolve.llm import resolve_llm
from dtx_tasks.spec import LLM, Dataset
from dtx_tasks.storage import bring, manifest, write_bytes
from tests.builders import FakeData


def told(written: str, folder: Path | None, *roots: Path) -> str:
    """What is wrong with a path; empty when nothing is."""
    found = Allowed(folder, roots or None).find(written)
    return "" if isinstance(found, Path) else f"{found.problem}. {found.remedy}"


def make_llm(source: Path | str, template: str = "chatml") -> LLM:
    return LLM(name="base", source=str(source), template=template)  # type: ignore[arg-type]


def llm_mistake(source: Path | str, allowed: Allowed) -> str:
    found = resolve_llm(make_llm(source), allowed)
    assert not isinstance(found, LLMSource)
    return found.text("e.yaml")


def make_model(folder: Path, weights: str = "weights") -> Path:
    data = FakeData(folder)
    data.model("model")
    data.text("model/model.safetensors", weights)
    return folder / "model"


def test_relative_path_counts_from_its_file(tmp_path: Path) -> None:
    """And may lead up from there where nothing limits it."""
    FakeData(tmp_path).jsonl("a.jsonl")
    (tmp_path / "below").mkdir()
    assert Allowed(tmp_path, None).find("a.jsonl") == Allowed(tmp_path / "below", None).find("../a.jsonl") == tmp_path / "a.jsonl"


def test_relative_path_of_a_request_is_refused() -> None:
    """A request by REST has no file that a path could count from."""
    assert told("data/a.jsonl", None) == "a relative path means nothing here (got 'data/a.jsonl'). Use `dtx submit`, which hands over local files."


def test_missing_file_is_told_with_the_place_looked_at(tmp_path: Path) -> None:
    """The author sees what the relative path came to."""
    assert told("a.jsonl", tmp_path) == f"is not there (got 'a.jsonl'). Looked for {tmp_path / 'a.jsonl'}."


@pytest.mark.parametrize("written", ["/etc/passwd", "{inside}/../secret", "{inside}/link", "{inside}/folder/secret", "~/secret"])
def test_path_out_of_the_roots_is_refused(tmp_path: Path, written: str) -> None:
    """However it leads there: plainly, by `..`, by a link to a file or by a link to a folder."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("x")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    path = written.format(inside=inside)
    remedy = "Use `dtx submit`, or have the folder added to DTX_DATA_ROOTS."
    assert told(path, None, inside) == f"lies outside the folders that requests may read (got {path!r}). {remedy}"


def test_sibling_of_a_root_is_outside(tmp_path: Path) -> None:
    """`/data/a-secret` is not in `/data/a`."""
    FakeData(tmp_path).text("a-secret", "x")
    assert "lies outside" in told(f"{tmp_path}/a-secret", None, tmp_path / "a")


def test_path_in_a_root_is_found(tmp_path: Path) -> None:
    """Any of several."""
    path = FakeData(tmp_path).jsonl("b/a.jsonl")
    assert Allowed(None, (tmp_path / "a", tmp_path / "b")).find(str(path)) == path


def test_url_of_rows_is_refused(tmp_path: Path) -> None:
    """With what to do instead."""
    remedy = "Use a local path, s3://BUCKET/KEY, https://HOST/FILE or hf://datasets/OWNER/NAME@REVISION/PATH."
    assert told("ftp://host/a.jsonl", tmp_path) == f"this source cannot be reached (got 'ftp://host/a.jsonl'). {remedy}"


@pytest.mark.parametrize("written", ["/data/\x00", "~nobody-of-this-name/a", "/" + "x" * 5000])
def test_path_that_the_system_refuses_is_no_bug(written: str) -> None:
    """A NUL, a home of nobody, a name too long."""
    assert told(written, None).startswith("cannot be looked for: ")


@pytest.mark.parametrize("source", ["https://host/model", "hf:Qwen/Qwen3", "hf://datasets/ann/shop"])
def test_address_that_is_no_model_is_refused(tmp_path: Path, source: str) -> None:
    """With what an address looks like."""
    remedy = "Use hf://OWNER/NAME@REVISION, ms://OWNER/NAME@REVISION of ModelScope, s3://BUCKET/FOLDER or a folder in Hugging Face layout."
    assert llm_mistake(source, Allowed(tmp_path, None)) == f"e.yaml: .source: this source cannot be reached (got {source!r}). {remedy}"


def test_unknown_recipe_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """Made models have names too."""
    said = "there is no recipe of this name (got 'tiny-bilingal'). Did you mean 'tiny-bilingual'? Known: tiny-bilingual, tiny-test."
    assert llm_mistake("made:tiny-bilingal", Allowed(tmp_path, None)) == f"e.yaml: .source: {said}"


def test_folder_that_is_no_model_is_told(tmp_path: Path) -> None:
    """A model has a config.json."""
    said = f"is not a model in Hugging Face layout (got {str(tmp_path)!r}). There is no config.json in {tmp_path}."
    assert llm_mistake(tmp_path, Allowed(None, None)) == f"e.yaml: .source: {said}"


def test_link_out_of_a_models_folder_is_refused(tmp_path: Path) -> None:
    """A request must not read by a model's files what it may not read itself."""
    FakeData(tmp_path).text("secret", "x")
    model = make_model(tmp_path / "inside")
    (model / "tokenizer.json").symlink_to(tmp_path / "secret")
    said = "holds a link out of the folders that requests may read (got 'tokenizer.json'). Replace it by the file itself."
    assert llm_mistake(model, Allowed(None, (tmp_path / "inside",))) == f"e.yaml: .source: {said}"


def test_model_is_known_by_its_content(tmp_path: Path) -> None:
    """A copy elsewhere is the same one; other weights or another template are another."""
    one, copy, other = make_model(tmp_path / "1"), make_model(tmp_path / "2"), make_model(tmp_path / "3", "other")
    found = [resolve_llm(llm, Allowed(None, None)) for llm in (make_llm(one), make_llm(copy), make_llm(other), make_llm(one, "default"))]
    ids = [source.llm_id for source in found if isinstance(source, LLMSource)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def make_dataset(**changes: Any) -> Dataset:
    return Dataset(name="rows", **{"train": "train.jsonl", **changes})  # type: ignore[arg-type]


def found_dataset(folder: Path, **changes: Any) -> DatasetSource:
    found = resolve_dataset(make_dataset(**changes), Allowed(folder, None))
    assert isinstance(found, ResolvedDataset)
    return found.source


def mistakes_of(folder: Path, **changes: Any) -> list[str]:
    found = resolve_dataset(make_dataset(**changes), Allowed(folder, None))
    assert isinstance(found, list)
    return [mistake.text("e.yaml") for mistake in found]


def test_rows_are_counted(tmp_path: Path) -> None:
    """Rows, characters and the digest of each file, by the path as it was written."""
    FakeData(tmp_path).jsonl("train.jsonl", [{"instruction": "four", "output": "two!"}, {"instruction": "a", "input": "b", "output": "c"}])
    file = found_dataset(tmp_path).files["train"]
    assert (file.num_rows, file.num_characters, file.label, file.path) == (2, 12, "train.jsonl", str(tmp_path / "train.jsonl"))


def test_bad_rows_do_not_stop_the_plan_and_are_told(tmp_path: Path) -> None:
    """`prepare` refuses this one Dataset later, and leaves the others alone."""
    FakeData(tmp_path).jsonl("train.jsonl", [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": ""}])
    source = found_dataset(tmp_path)
    assert source.problem == "train.jsonl:2: output: is empty. Write the text or remove the row."
    assert source.files["train"].num_rows == 1


def test_every_missing_file_is_told(tmp_path: Path) -> None:
    """All of them at once."""
    mistakes = mistakes_of(tmp_path, validation="v.jsonl", test="t.jsonl")
    assert [mistake.split(": ")[1] for mistake in mistakes] == [".train", ".validation", ".test"]


def test_folder_is_one_split(tmp_path: Path) -> None:
    """Its files are known by their names and content, from any place."""
    for place in ("here", "there"):
        for name in ("a", "b"):
            FakeData(tmp_path).jsonl(f"{place}/data/{name}.jsonl", [{"instruction": name, "output": "b"}])
    file = found_dataset(tmp_path / "here", train="data/").files["train"]
    assert (file.num_rows, file.label, file.path, [entry.path for entry in file.files]) == (2, "data", f"{tmp_path}/here/data", ["a.jsonl", "b.jsonl"])
    assert found_dataset(tmp_path / "there", train="data").files["train"].sha256 == file.sha256
    FakeData(tmp_path).jsonl("there/data/b.jsonl", [{"instruction": "c", "output": "b"}])
    assert found_dataset(tmp_path / "there", train="data").files["train"].sha256 != file.sha256


def test_pattern_is_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder with several, whose other files are not looked at; findings name the file."""
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    data = FakeData(tmp_path)
    for name in ("train-0", "train-1", "test-0"):
        data.jsonl(f"data/{name}.jsonl", [{"instruction": name, "output": "" if name == "train-1" else "b"}])
    data.text("data/README.md", "x")
    source = found_dataset(tmp_path, train="data/train-*.jsonl", test="data/test-*")
    assert [entry.path for entry in source.files["train"].files] == ["train-0.jsonl", "train-1.jsonl"]
    assert (source.files["train"].num_rows, source.files["test"].num_rows) == (1, 1)
    assert source.problem == "data/train-1.jsonl:1: output: is empty. Write the text or remove the row."
    assert mistakes_of(tmp_path, train="data/none-*")[0].startswith("e.yaml: .train: is not there (got 'data/none-*'). Looked for ")


def test_pattern_leads_no_further_than_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By links either."""
    monkeypatch.setenv("DTX_CACHE", str(tmp_path / "cache"))
    FakeData(tmp_path).jsonl("secret.jsonl")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/a.jsonl").symlink_to(tmp_path / "secret.jsonl")
    for written, told in ((f"{tmp_path}/*.jsonl", "lies outside the folders"), (f"{tmp_path}/inside/*.jsonl", "holds a link out of the folders")):
        found = Allowed(None, (tmp_path / "inside",)).find_rows(written)
        assert isinstance(found, Mistake)
        assert found.problem.startswith(told)


def test_pattern_on_s3_is_one_split(bucket: str) -> None:
    """Whoever reads it later brings these files of the folder alone."""
    for name in ("train-0", "train-1", "test-0"):
        write_bytes(f"{bucket}/data/{name}.jsonl", b'{"instruction": "%b", "output": "b"}\n' % name.encode())
    found = resolve_dataset(make_dataset(train=f"{bucket}/data/train-*.jsonl"), Allowed(None, (bucket,)))
    assert isinstance(found, ResolvedDataset)
    file = found.source.files["train"]
    assert (file.path, file.num_rows, file.label) == (f"{bucket}/data", 2, f"{bucket}/data/train-*.jsonl")
    assert manifest(bring(file.path, file.files)) == file.files


def test_bad_row_of_a_folder_is_told_with_its_file(tmp_path: Path) -> None:
    """As in `dtx dataset check`."""
    FakeData(tmp_path).jsonl("data/a.jsonl", [{"instruction": "a", "output": "b"}])
    FakeData(tmp_path).jsonl("data/b.jsonl", [{"instruction": "c", "output": ""}])
    assert found_dataset(tmp_path, train="data").problem == "data/b.jsonl:1: output: is empty. Write the text or remove the row."


def test_folder_with_something_else_in_it_is_told(tmp_path: Path) -> None:
    """Rather than read in part; and an empty one."""
    (tmp_path / "empty").mkdir()
    FakeData(tmp_path).text("data/notes.txt", "x")
    first, second = mistakes_of(tmp_path, train="data", test="empty")
    assert first.startswith("e.yaml: .train: is a folder with something in it that is no file of rows: 'notes.txt' (got 'data'). ")
    assert second.startswith("e.yaml: .test: is an empty folder (got 'empty'). ")


def test_link_out_of_a_folder_of_rows_is_refused(tmp_path: Path) -> None:
    """A request must not read by a folder what it may not read itself."""
    FakeData(tmp_path).jsonl("secret.jsonl")
    (tmp_path / "inside/data").mkdir(parents=True)
    (tmp_path / "inside/data/a.jsonl").symlink_to(tmp_path / "secret.jsonl")
    found = Allowed(None, (tmp_path / "inside",)).find_rows(str(tmp_path / "inside/data"))
    assert isinstance(found, Mistake)
    assert found.problem == "holds a link out of the folders that requests may read (got 'a.jsonl')"


def test_folder_on_s3_is_brought_as_one_split(bucket: str) -> None:
    """With or without a slash at its end; nothing is downloaded of one that cannot be read as one."""
    for name in ("a", "b"):
        write_bytes(f"{bucket}/data/{name}.jsonl", b'{"instruction": "%b", "output": "b"}\n' % name.encode())
    found = [resolve_dataset(make_dataset(train=f"{bucket}/{written}"), Allowed(None, (bucket,))) for written in ("data", "data/")]
    sources = [item.source.files["train"] for item in found if isinstance(item, ResolvedDataset)]
    assert [(source.path, source.num_rows) for source in sources] == [(f"{bucket}/data", 2)] * 2
    path = bring(sources[0].path, sources[0].files)
    assert manifest(path) == sources[0].files
    write_bytes(f"{bucket}/data/README.md", b"x")
    odd = resolve_dataset(make_dataset(train=f"{bucket}/data"), Allowed(None, None))
    assert isinstance(odd, list)
    assert odd[0].problem.startswith("is a folder with something in it that is no file of rows: 'README.md'")
