"""Photographs and labels in a table: a CSV file with a header."""

import csv
import math
import os
import pathlib
import re

from cin_keras.data.listings import first_few, natural_order
from cin_keras.data.samples import Samples
from cin_keras.data.splits import SPLIT_NAMES

# What programs write into a cell that holds nothing.
_EMPTY = {"", "nan", "null", "n/a", "#n/a", "<na>"}


def from_table(
    path,
    split=None,
    *,
    path_column="path",
    label_column="label",
    split_column="split",
    box_columns=None,
    class_names=None,
    delimiter=",",
):
    """Lists the photographs of a table.

    ```
    path,label,split
    photographs/1.jpg,Acura RL,train
    photographs/2.jpg,BMW M3,test
    ```

    Every cell that is used must hold something; a row that says the same as another, or
    contradicts it, is refused.

    Args:
        path: Path of a CSV file in UTF-8, with a header. The photographs' paths in it are
            relative to its folder, or absolute.
        split: `None`, or the rows to take by their `split_column`: `"train"`, `"val"`, `"test"`
            (as other words for these, `"validation"`, …), or whatever else stands in it. `None`
            means `"train"` where the table has the column, all rows where it has not. Defaults to
            `None`.
        path_column: Str, the column of the photographs. Defaults to `"path"`.
        label_column: Str, the column of the labels: names, or whole numbers from 0 without gaps.
            Defaults to `"label"`.
        split_column: Str or `None`, the column of the splits, if the table has it. Defaults to
            `"split"`.
        box_columns: `None`, or four str, the columns of left, top, right and bottom of the object
            in pixels, right and bottom exclusive. Defaults to `None`.
        class_names: `None`, or a sequence of str. Labels that are names must be among them,
            numbers count them from 0. Without it, the classes are the names in the whole table in
            natural order, or its numbers. Defaults to `None`.
        delimiter: Str, one character between cells. Defaults to `","`.

    Returns:
        `Samples`, in the table's order; the classes are those of the whole table, whatever the
        split.

    Raises:
        FileNotFoundError: If the table or a photograph is missing.
        ValueError: If the table does not hold what it should; one sentence says what, and where.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("a.jpg", "b.jpg", "c.jpg"):
    ...     (folder / name).touch()
    >>> table = folder / "birds.csv"
    >>> _ = table.write_text("file,species\\na.jpg,owl\\nb.jpg,heron\\nc.jpg,owl\\n")
    >>> samples = from_table(table, path_column="file", label_column="species")
    >>> samples, samples.class_names
    (Samples(2 classes, 3 images, 1–2 a class), ('heron', 'owl'))
    """
    table = _Table(path, delimiter, (path_column, label_column, *(box_columns or ())))
    if box_columns is not None and len(box_columns) != 4:
        raise ValueError(
            "`box_columns` must name four columns: left, top, right, bottom. "
            f"Received: box_columns={box_columns!r}"
        )
    has_split = split_column is not None and split_column in table.columns
    if split is not None and not has_split:
        raise ValueError(
            f"{path} has no column {split_column!r} to take a split by; its columns are "
            f"{first_few(table.columns, 20)}. Received: split={split!r}"
        )
    photographs = table.cells(path_column)
    names, labels = _read_labels(table, label_column, class_names)
    boxes = [table.numbers(column) for column in box_columns or ()]
    boxes = list(zip(*boxes, strict=True)) if boxes else None
    splits = [_known_split(cell) for cell in table.cells(split_column)] if has_split else None
    _check_rows(table, photographs, labels, boxes, splits)
    chosen = range(len(photographs))
    if has_split:
        wanted = _known_split(split or "train")
        chosen = [i for i in chosen if splits[i] == wanted]
        if not chosen:
            raise ValueError(
                f"{path} has no row whose {split_column} is {wanted!r}, only "
                f"{first_few(sorted(set(splits)))}. Received: split={split!r}"
            )
    root = pathlib.Path(path).parent
    paths = [str(root / photographs[i]) for i in chosen]
    missing = [name for name in dict.fromkeys(paths) if not os.path.lexists(name)]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the photographs that {path} lists are not there: "
            f"{first_few(missing)}"
        )
    return Samples(
        paths=paths,
        labels=[labels[i] for i in chosen],
        class_names=names,
        boxes=None if boxes is None else [boxes[i] for i in chosen],
    )


def table_splits(path, split_column="split", delimiter=","):
    """The values of a table's column of splits, known ones as `"train"`, `"val"`, `"test"`.

    Args:
        path: Path of the CSV file.
        split_column: Str or `None`. Defaults to `"split"`.
        delimiter: Str. Defaults to `","`.

    Returns:
        Tuple of str; empty if the table has no such column.
    """
    table = _Table(path, delimiter)
    if split_column is None or split_column not in table.columns:
        return ()
    return tuple(dict.fromkeys(_known_split(cell) for cell in table.cells(split_column)))


class _Table:
    """The rows of a CSV file that has the columns `required`, and the lines they begin in."""

    def __init__(self, path, delimiter, required=()):
        self.path = path
        try:
            # utf-8-sig: spreadsheets put a mark in front of the text.
            with open(path, newline="", encoding="utf-8-sig") as file:
                reader = csv.reader(file, delimiter=delimiter, strict=True)
                self.columns = [name.strip() for name in next(reader, [])]
                self.rows, self.lines, line = [], [], reader.line_num + 1
                for row in reader:
                    if row:
                        self.rows.append(row)
                        self.lines.append(line)
                    line = reader.line_num + 1
        except FileNotFoundError:
            raise FileNotFoundError(f"No such table. Received: path={str(path)!r}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} is no CSV file in UTF-8 ({error})") from None
        self._require(required)
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            raise ValueError(f"{path} has two columns called {twice[0]!r}")
        for line, row in zip(self.lines, self.rows, strict=True):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Line {line} of {path} has {len(row)} cells, the header {len(self.columns)}. "
                    "Put cells that hold the delimiter in quotes."
                )
        if not self.rows:
            raise ValueError(f"{path} has no rows below its header")

    def _require(self, columns):
        missing = [name for name in columns if name not in self.columns]
        if missing:
            other = [d for d in ";\t|" if len(self.columns) == 1 and d in self.columns[0]]
            hint = f" (Try delimiter={other[0]!r}.)" if other else ""
            raise ValueError(
                f"{self.path} has no column {missing[0]!r}; its columns are "
                f"{first_few(self.columns, 20)}.{hint}"
            )

    def cells(self, column):
        """The cells of a column, none of them empty."""
        index = self.columns.index(column)
        values = [row[index].strip() for row in self.rows]
        empty = [
            line for line, value in zip(self.lines, values, strict=True) if value.lower() in _EMPTY
        ]
        if empty:
            value = values[self.lines.index(empty[0])]
            raise ValueError(
                f"{self.path} has no {column} in line {empty[0]}: the cell holds {value!r} "
                f"({len(empty)} such lines)"
            )
        return values

    def numbers(self, column):
        """The cells of a column as floats."""
        numbers = []
        for line, value in zip(self.lines, self.cells(column), strict=True):
            try:
                numbers.append(float(value))
            except ValueError:
                numbers.append(math.nan)
            if not math.isfinite(numbers[-1]):
                raise ValueError(
                    f"{self.path} must hold numbers in the column {column!r}. "
                    f"Received: {value!r} in line {line}"
                )
        return numbers


def _read_labels(table, column, class_names):
    """The names of the classes, and the labels of all rows."""
    cells = table.cells(column)
    # As pandas writes whole numbers of a column that has been floats: 3.0.
    if all(re.fullmatch(r"[+-]?\d+(\.0*)?", cell) for cell in cells):
        labels = [int(cell.partition(".")[0]) for cell in cells]
        return _numbered_classes(table, labels, class_names)
    if class_names is None:
        class_names = sorted(set(cells), key=natural_order)
    class_names = [str(name) for name in class_names]
    label_of = {name: label for label, name in enumerate(class_names)}
    for line, cell in zip(table.lines, cells, strict=True):
        if cell not in label_of:
            raise ValueError(
                f"Line {line} of {table.path} has the {column} {cell!r}, which is none of the "
                f"{len(class_names)} class names given: {first_few(class_names)}"
            )
    return class_names, [label_of[cell] for cell in cells]


def _numbered_classes(table, labels, class_names):
    count = max(labels) + 1 if class_names is None else len(class_names)
    for line, label in zip(table.lines, labels, strict=True):
        if not 0 <= label < count:
            raise ValueError(
                f"Labels that are numbers must lie in 0..{count - 1}. "
                f"Received: label {label} in line {line} of {table.path}"
            )
    if class_names is not None:
        return list(class_names), labels
    present = set(labels)
    gaps = [str(label) for label in range(min(count, len(present) + 1)) if label not in present]
    if gaps:
        raise ValueError(
            f"{table.path} has labels up to {count - 1}, but only {len(present)} of them, without "
            f"label {gaps[0]}. Number the classes from 0 without gaps, write names, or give "
            "`class_names`."
        )
    return [str(label) for label in range(count)], labels


def _known_split(cell):
    return SPLIT_NAMES.get(cell.lower(), cell)


def _check_rows(table, photographs, labels, boxes, splits):
    """No row twice; no photograph with two labels unless with two boxes; none in two splits."""
    first = {}
    for i, photograph in enumerate(photographs):
        photograph = os.path.normpath(photograph)
        j = first.setdefault((photograph, boxes and boxes[i]), i)
        k = first.setdefault(photograph, i)
        both = f"lines {table.lines[j]} and {table.lines[i]}"
        if j != i and labels[j] != labels[i]:
            raise ValueError(
                f"{table.path} gives {photograph!r} two labels, in {both}. Keep the right one."
            )
        if k != i and splits and splits[k] != splits[i]:
            raise ValueError(
                f"{table.path} puts {photograph!r} into {splits[k]!r} and into {splits[i]!r}, in "
                f"lines {table.lines[k]} and {table.lines[i]}. Keep it in one of them."
            )
        if j != i:
            raise ValueError(
                f"{table.path} lists {photograph!r} more than once, in {both}. Remove one of them."
            )
