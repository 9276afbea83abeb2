"""Errors as people and exit codes see them."""

import pytest

from dtx_tasks.errors import BY_NAME, DataError, DtxError, Mistake, SpecError, kind_of, nearest, spec_error
from dtx_tasks.template import UnsuitableTemplateError


def test_error_says_what_to_do() -> None:
    """Message and hint are one text."""
    assert str(DataError("It is broken.", "Mend it.")) == "It is broken. Mend it."


@pytest.mark.parametrize(
    ("name", "code", "is_final"),
    [
        ("SpecError", 78, True),
        ("DataError", 65, True),
        ("DivergedError", 76, True),
        ("ResourceError", 77, False),
        ("TransientError", 75, False),
        ("DtxError", 70, False),
    ],
)
def test_exit_codes_are_those_of_the_failure_table(name: str, code: int, is_final: bool) -> None:
    """Scripts and the retry policy depend on them."""
    assert (BY_NAME[name].exit_code, BY_NAME[name].is_final) == (code, is_final)


def test_special_error_is_written_down_as_the_class_it_is_one_of() -> None:
    """Whoever reads a failure back knows the failure table only."""
    assert kind_of(UnsuitableTemplateError("x")) == "DataError"
    assert kind_of(DtxError("x")) == "DtxError"


def test_mistakes_come_in_file_order() -> None:
    """By line; what has none comes first."""
    error = spec_error("e.yaml", [Mistake("a", "is wrong", line=10), Mistake("b", "is wrong", "Right it.", line=9), Mistake("c", "is empty")])
    assert str(error) == "e.yaml: c: is empty.\ne.yaml:9: b: is wrong. Right it.\ne.yaml:10: a: is wrong."
    assert [mistake.key_path for mistake in error.mistakes] == ["c", "b", "a"]


def test_unknown_name_is_answered_with_the_nearest() -> None:
    """The guess comes first, then everything there is."""
    assert nearest("bilingal", ["tiny", "bilingual"]) == "Did you mean 'bilingual'? Known: bilingual, tiny."
    assert nearest("xyz", ["tiny"]) == "Known: tiny."
    assert nearest("xyz", []) == "None is defined."


def test_many_names_are_not_all_told() -> None:
    """What lists them is, or the nearest one alone; they are all there is to say where neither is known."""
    names = [f"name-{number}" for number in range(10, 40)]
    assert nearest("nam-10", names, "docs/spec.md") == "Did you mean 'name-10'? docs/spec.md lists all 30."
    assert nearest("xyz", names, "docs/spec.md") == "docs/spec.md lists all 30."
    assert nearest("nam-10", names) == "Did you mean 'name-10'?"
    assert nearest("xyz", names) == f"Known: {', '.join(names)}."


def test_spec_error_without_mistakes_has_none() -> None:
    """Some mistakes are of no file."""
    assert SpecError("No.").mistakes == ()
