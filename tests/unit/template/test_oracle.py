"""Every template against what LLaMA-Factory renders and trains on: the reference vectors beside the checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from dtx_tasks.template import adapt, encode, stop_token_ids

ORACLE = Path(os.environ.get("DTX_SHARED") or Path(__file__).parents[4] / "shared") / "data/oracle"
pytestmark = pytest.mark.skipif(not ORACLE.is_dir(), reason=f"the reference vectors are not in {ORACLE}; DTX_SHARED names another folder")

TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt", "observation_tag": "observation"}


def lines(name: str) -> list[dict[str, Any]]:
    """The lines that show how it is done today."""
    path = ORACLE / name
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [line for line in read if line["current"] and line.get("stage", "sft") == "sft"]


def messages_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversation of a row, by what its entry says."""
    row, entry = line["row"], line["entry"]
    columns = entry.get("columns") or {"prompt": "instruction", "query": "input", "response": "output"}
    read = _turns_of if entry.get("formatting") == "sharegpt" else _pairs_of
    turns = read(row, columns, {**TAGS, **entry.get("tags", {})})
    system = row.get(columns.get("system")) if turns[0][0] != "system" else None
    return [_message(role, content) for role, content in [*([("system", system)] if system else []), *turns]]


def _turns_of(row: dict[str, Any], columns: dict[str, str], tags: dict[str, str]) -> list[tuple[str, str]]:
    known = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant", tags["observation_tag"]: "tool"}
    return [(known.get(turn[tags["role_tag"]], turn[tags["role_tag"]]), turn[tags["content_tag"]]) for turn in row[columns["messages"]]]


def _pairs_of(row: dict[str, Any], columns: dict[str, str], _tags: dict[str, str]) -> list[tuple[str, str]]:
    asked = "\n".join(part for part in (row[columns["prompt"]], row.get(columns.get("query"))) if part)
    pairs = [*(row.get(columns.get("history")) or []), (asked, row[columns["response"]])]
    return [turn for question, answer in pairs for turn in (("user", question), ("assistant", answer))]


def _message(role: str, content: str) -> dict[str, Any]:
    if role != "function_call":
        return {"role": role, "content": content}
    made = json.loads(content)
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": call} for call in (made if isinstance(made, list) else [made])],
    }


def tools_of(line: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The tools of a row; a JSON list in a string."""
    given = line["row"].get(line["entry"].get("columns", {}).get("tools"))
    return json.loads(given) if given else None


def spans_of(text: str, labels: list[int], tokenizer: Any) -> list[list[int]]:
    """The characters that are learned."""
    spans: list[list[int]] = []
    for (start, end), label in zip(tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"], labels, strict=True):
        if label == -100:
            continue
        if spans and spans[-1][1] >= start:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    return spans


@pytest.mark.parametrize("line", lines("templates.jsonl"), ids=lambda line: f"{line['template']}-{line['tokenizer']}-{line['case']}")
def test_text_and_learned_part_are_those_of_the_reference(line: dict[str, Any]) -> None:
    """`own_spans` leave out labels that belong to another token, which no mark in a template can express."""
    tokenizer = AutoTokenizer.from_pretrained(ORACLE / "tokenizers" / line["tokenizer"])
    adapt(tokenizer, line["template"])
    encoded = encode(tokenizer, messages_of(line), tools_of(line), **{"cutoff_len": 2048, **line["options"]})
    text = tokenizer.decode(encoded.input_ids)
    assert text == line["rendered_text"]
    assert spans_of(text, encoded.labels, tokenizer) == (line.get("own_spans") or line["trained_spans"])
    assert len(encoded.input_ids) == line["n_tokens"]


@pytest.mark.parametrize("line", lines("tokenizer_facts.jsonl"), ids=lambda line: f"{line['template']}-{line['tokenizer']}")
def test_tokenizer_ends_and_pads_as_the_reference_does(line: dict[str, Any]) -> None:
    """Nothing is added to the vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(ORACLE / "tokenizers" / line["tokenizer"])
    num_tokens = len(tokenizer)
    adapt(tokenizer, line["template"])
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (line["bos"], line["eos_used"], line["pad_used"])
    assert sorted(tokenizer.convert_ids_to_tokens(stop_token_ids(tokenizer))) == sorted(line["stop"])
    assert len(tokenizer) - num_tokens == len(line["adds_tokens"])
