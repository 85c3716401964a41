import pytest

from cin_keras.measuring.tables import (
    markdown_table,
    plus_minus,
    short,
    summary_table,
    with_quartiles,
)


def test_a_table_has_a_line_for_the_head_the_rule_and_every_row():
    table = markdown_table(["", "right"], [["plain", "78.0%"], ["SCI", ""]])
    assert table.splitlines() == ["| | right |", "| --- | --- |", "| plain | 78.0% |", "| SCI | |"]


def test_a_row_with_a_cell_too_few_is_refused():
    with pytest.raises(ValueError, match="2 cells.*Received.*plain"):
        markdown_table(["", "right"], [["plain"]])


def test_numbers_have_three_digits_and_no_exponent():
    assert [short(x) for x in (0.00123, 0.5, 12.345, 99.96, 123456.7)] == [
        "0.00123",
        "0.5",
        "12.3",
        "100",
        "123457",
    ]


def test_cells():
    assert with_quartiles(150.6, [9.99, 1000]) == "151 (9.99–1000)"
    assert plus_minus(-0.066, 0.04, "+.1f", 100) == "-6.6 ± 4.0"
    assert plus_minus(0.212, 0.0051) == "0.212 ± 0.005"


def test_a_summary_has_a_column_for_each_figure():
    cells = {"median": 4.0, "quartiles": [3.5, 4.5], "rounds": 2}
    table = summary_table(
        {"bare": {"images/s": cells, "work": cells}, "pairs": {"images/s": cells, "work": cells}}
    )
    assert table.splitlines() == [
        "| | images/s | work |",
        "| --- | --- | --- |",
        "| bare | 4 (3.5–4.5) | 4 (3.5–4.5) |",
        "| pairs | 4 (3.5–4.5) | 4 (3.5–4.5) |",
    ]
