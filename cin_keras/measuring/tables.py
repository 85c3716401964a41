"""Tables in Markdown."""


def markdown_table(columns, rows):
    """A table whose rows begin with a name.

    Args:
        columns: Sequence of str, the heads of the columns.
        rows: Iterable of sequences of str, as many as there are columns.

    Returns:
        Str, lines without a newline at the end.

    Raises:
        ValueError: If a row has more or fewer cells.

    Example:

    >>> print(markdown_table(["", "right"], [["plain", "78.0%"], ["SCI", "78.9%"]]))
    | | right |
    | --- | --- |
    | plain | 78.0% |
    | SCI | 78.9% |
    """
    lines = [list(columns), ["---"] * len(columns)]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"A row needs {len(columns)} cells, {columns}. Received: {row}")
        lines.append(row)
    return "\n".join(
        "|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in lines
    )


def short(number):
    """Three digits, and never an exponent.

    Example:

    >>> short(1234.5), short(12.345), short(0.0012345)
    ('1234', '12.3', '0.00123')
    """
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def with_quartiles(median, quartiles):
    """A cell: the median, and in brackets the quartiles.

    Example:

    >>> with_quartiles(3.0, [2.0, 4.5])
    '3 (2–4.5)'
    """
    low, high = quartiles
    return f"{short(median)} ({short(low)}–{short(high)})"


def summary_table(summary):
    """What `summarize` returned: a row a variant, medians and in brackets the quartiles.

    Example:

    >>> median = {"median": 4.0, "quartiles": [3.5, 4.5], "rounds": 2}
    >>> print(summary_table({"bare": {"images/s": median}}))
    | | images/s |
    | --- | --- |
    | bare | 4 (3.5–4.5) |
    """
    columns = next(iter(summary.values()))
    rows = [
        [name, *(with_quartiles(cell["median"], cell["quartiles"]) for cell in cells.values())]
        for name, cells in summary.items()
    ]
    return markdown_table(["", *columns], rows)


def plus_minus(mean, error, form=".3f", factor=1, unit=""):
    """A cell: a mean with its standard error.

    Args:
        mean: Float.
        error: Float.
        form: Str, Python's format of both; a sign is for the mean alone. Defaults to `".3f"`.
        factor: Number that both are multiplied with. Defaults to 1.
        unit: Str, what follows the mean. Defaults to nothing.

    Returns:
        Str.

    Example:

    >>> plus_minus(0.2464, 0.0197), plus_minus(0.2464, 0.0197, "+.1f", 100, " %")
    ('0.246 ± 0.020', '+24.6 % ± 2.0')
    """
    return f"{factor * mean:{form}}{unit} ± {factor * error:{form.removeprefix('+')}}"
