"""The table of templates, their names and their files."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from docs.templates import jinja_of, page
from dtx_tasks.spec.llm import Template as TemplateName
from dtx_tasks.template import TEMPLATES, TOKENIZERS_OWN
from dtx_tasks.template import render as beside

FOLDER = Path(beside.__file__).parent
SEEDS = """baichuan2 chatglm3 cohere cpm cpm3 deepseek falcon gemma glm4 intern2 llama2 llama3 llava llava_next llava_next_video
    mistral paligemma phi qwen qwen2_vl xverse yi yi_vl yuan"""


def test_names_of_a_spec_are_those_of_the_table() -> None:
    """The spec must not import what is heavy, so it has names of its own."""
    assert get_args(TemplateName) == (TOKENIZERS_OWN, *TEMPLATES)


def test_every_template_has_a_file_and_every_file_a_template() -> None:
    """A file that nobody can choose would be dead."""
    assert sorted(path.stem for path in FOLDER.glob("*.jinja")) == sorted(TEMPLATES)


def test_templates_of_datatunerx_are_there() -> None:
    """With the one that it writes as a dash, and the common ones without a model family."""
    assert set(TEMPLATES) == {*SEEDS.split(), "default", "alpaca", "vicuna", "chatml"}


@pytest.mark.parametrize("name", TEMPLATES)
def test_file_is_made_from_the_table_and_marks_what_is_learned(name: str) -> None:
    """`make docs` writes it."""
    text = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    assert text == jinja_of(name, TEMPLATES[name])
    assert text.count("{%- generation -%}") == 2


def test_page_names_every_template() -> None:
    """Its table cells hold no bar of their own."""
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TEMPLATES)
    assert {line.replace("\\|", "").count("|") for line in rows} == {8}
