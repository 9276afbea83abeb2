"""Content hashes and the texts that they are made of."""

import pytest
from pydantic import ValidationError

from dtx_tasks.records import Attempt, canonical_json, digest_of
from tests.builders import make_attempt


def test_order_of_keys_does_not_matter() -> None:
    """Equal values have one text."""
    assert canonical_json({"b": 1, "a": [1, "x"]}) == '{"a":[1,"x"],"b":1}' == canonical_json({"a": [1, "x"], "b": 1})


def test_order_of_items_matters() -> None:
    """Lists are what they are."""
    assert digest_of([1, 2]) != digest_of([2, 1])


def test_digest_is_stable() -> None:
    """An identity of today is one of tomorrow: this value is part of every store."""
    assert digest_of({"a": "识别"}) == "b5f938feb2ab0b55"


def test_record_and_its_values_have_one_digest() -> None:
    """A record stands for what it says."""
    assert digest_of(make_attempt()) == digest_of(make_attempt().model_dump(mode="json"))


def test_digest_is_as_long_as_asked_for() -> None:
    """Hex digits."""
    assert len(digest_of("a", 64)) == 64


def test_nan_has_no_digest() -> None:
    """JSON cannot hold it, so no identity may."""
    with pytest.raises(ValueError, match="Out of range float"):
        digest_of(float("nan"))


def test_record_refuses_unknown_keys() -> None:
    """A record of another version is not half understood."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Attempt.model_validate({**make_attempt().model_dump(), "colour": "red"})
