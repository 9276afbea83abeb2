@pytest.mark.parametrize(
    ("columns", "problem"), [({"input": "contxt"}, "contxt: no row has this column"), ({"system": "role"}, "role: no row has this column")]
)
def test_named_column_that_no_row_has_is_a_mistake(tmp_path: Path, columns: dict[str, str], problem: str) -> None:
    """It may be empty in a row, but a name that fits none is misspelt; a plan that was written and read says the same."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n')
    for read in (Columns(**columns), Columns.model_validate_json(Columns(**columns).model_dump_json())):
        (found,) = check_file(path, "rows.jsonl", read).problems
        assert str(found).startswith(f"rows.jsonl:1: {problem}")
    assert check_file(path, "rows.jsonl", Columns.model_validate_json(Columns().model_dump_json())).problems == []
