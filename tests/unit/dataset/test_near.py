"""Almost equal rows, and how near the estimate is to the truth."""

from __future__ import annotations

import random

import numpy as np
import pytest

from dtx_tasks.dataset.near import LOOKED_AT_CHARACTERS, SHINGLE, Signatures, near_pairs
from tests.memory import peak_mib


def signatures(texts: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    found = Signatures()
    for text in texts:
        found.add([text])
    return found.array()


def jaccard(one: str, other: str) -> float:
    first, second = ({text[place : place + SHINGLE] for place in range(len(text) - SHINGLE + 1)} for text in (one, other))
    return len(first & second) / len(first | second)


def words(seed: int, number: int) -> list[str]:
    chosen = random.Random(seed)
    return ["".join(chosen.choices("abcdefghijklmnop", k=7)) for _ in range(number)]


@pytest.mark.parametrize("num_changed", [0, 2, 10, 40, 100])
def test_estimate_is_near_the_truth(num_changed: int) -> None:
    """Within four standard errors, over pairs of every degree."""
    errors = []
    for seed in range(40):
        text = words(seed, 200)
        other = words(seed + 1000, num_changed) + text[num_changed:]
        one, two = signatures([" ".join(text), " ".join(other)])
        errors.append(float(np.mean(one == two)) - jaccard(" ".join(text), " ".join(other)))
    assert abs(float(np.mean(errors))) < 4 * 0.0625 / len(errors) ** 0.5


def test_case_and_space_do_not_matter() -> None:
    """They are not what makes rows differ."""
    one, other = signatures(["The  quick\nbrown fox", "the quick brown FOX"])
    assert (one == other).all()


def test_batches_do_not_matter() -> None:
    """A row's signature is its own, beside whatever rows it comes."""
    texts = [" ".join(words(seed, 1 + seed % 30)) for seed in range(600)]
    assert (signatures(texts)[555:556] == signatures(texts[555:556])).all()


@pytest.mark.parametrize(("num_rows", "num_characters"), [(100, 200_000), (2, 2_000_000)])
def test_memory_does_not_grow_with_the_length_of_rows(num_rows: int, num_characters: int) -> None:
    """Long rows are taken by themselves, and a very long one by its beginning."""
    text = "some words " * (num_characters // 11)

    def take() -> None:
        found = Signatures()
        for number in range(num_rows):
            found.add([f"{number} {text}"])
        assert len(found.array()) == num_rows

    assert peak_mib(take) < 48


def test_long_rows_are_compared_by_their_beginnings() -> None:
    """What stands behind 100,000 characters counts no more."""
    text = "".join(words(0, 15_000))[:LOOKED_AT_CHARACTERS]
    one, other, shorter = signatures([text, f"{text} and more", text[:50_000]])
    assert (one == other).all()
    assert (one != shorter).any()


@pytest.mark.parametrize("texts", [["", "a", "你好"], ["😀", "\x00", " "]])
def test_texts_shorter_than_a_shingle_have_signatures(texts: list[str]) -> None:
    """And are not all the same."""
    found = signatures(texts)
    assert len(found) == len(texts)
    assert len({row.tobytes() for row in found}) >= len(texts) - 1


def test_pairs_are_found_among_many() -> None:
    """The later row and the earlier one, and few that are no pairs."""
    texts = [" ".join(words(seed, 100)) for seed in range(500)]
    texts += [f"{texts[place]} more" for place in range(0, 500, 10)]
    found = signatures(texts)
    pairs = {(row, other) for row, other, _ in near_pairs(found, found)}
    assert pairs == {(500 + number, number * 10) for number in range(50)}


def test_nothing_is_near_nothing() -> None:
    """No rows, no pairs."""
    empty, some = signatures([]), signatures(["a"])
    assert list(near_pairs(empty, some)) == list(near_pairs(some, empty)) == list(near_pairs(empty, empty)) == []
