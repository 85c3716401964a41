"""Photographs and labels in a table: a CSV file with a header."""

import collections
import csv
import io
import math
import os
import pathlib
import re
import unicodedata

from cin_keras.checks import check_list, check_names, check_path, short
from cin_keras.data.loaders.folders import check_differ_in_more_than_case, class_name, natural_order
from cin_keras.data.samples import Samples
from cin_keras.data.splits import SPLIT_NAMES, split_of_folder
from cin_keras.data.stores import is_remote
from cin_keras.text import first_few, warn

# What programs write into a cell that holds nothing.
_EMPTY = {"", "nan", "null", "n/a", "#n/a", "<na>"}
# What columns of splits are called.
_OF_SPLITS = {
    "subset", "set", "partition", "fold", "part", "phase", "usage", "train", "is_train", "is_test",
    "is_training", "is_training_img", "is_training_image", "istrain", "data_set", "dataset",
}  # fmt: skip
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{0,15})?")
_DELIMITERS = ",;\t|"


SPLIT_COLUMN = "split"


def from_table(
    path,
    split=None,
    *,
    path_column="path",
    label_column="label",
    split_column=SPLIT_COLUMN,
    box_columns=None,
    class_names=None,
    delimiter=None,
    levels=None,
):
    """Lists the photographs of a table.

    ```
    path,label,split
    photographs/1.jpg,Acura RL,train
    photographs/2.jpg,BMW M3,test
    ```

    The columns' names may be written in other cases. Every cell that is used must hold something; a row that says the same as another, or
    contradicts it, is refused.

    Args:
        path: Path of a CSV file in UTF-8 (or in UTF-16 with a mark, as spreadsheets write it),
            with a header. The photographs' paths in it are relative to its folder, or absolute, or
            addresses that `tf.io.gfile` reads, `gs://bucket/1.jpg`, which nothing looks for yet.
        split: `None`, or the rows to take by their `split_column`: `"train"`, `"val"`, `"test"`
            (as other words for these, `"validation"`, `"dev"`, …), or whatever else stands in it.
            `None` means `"train"` where the table has the column, all rows where it has not.
            Defaults to `None`.
        path_column: Str, the column of the photographs. Defaults to `"path"`.
        label_column: Str, the column of the labels: names, or whole numbers. Defaults to
            `"label"`.
        split_column: Str or `None`, the column of the splits; of the default, if the table has it.
            Defaults to `"split"`.
        box_columns: `None`, or four str, the columns of left, top, right and bottom of the object
            in pixels, right and bottom exclusive. Defaults to `None`.
        class_names: `None`, or a sequence of str. Labels must be among them; or, if all are
            numbers of which one is not, count them from 0, or from 1 where the highest is their
            number and none is 0. Without it, the classes are the labels of the whole table in
            natural order, numbers as names, too: 737 and 747 are two classes. Defaults to `None`.
        delimiter: Str, one character between cells; or `None` for the one of `,`, `;`, tab and `|`
            with which the header has the columns asked for. Defaults to `None`.
        levels: `None`, or a sequence of str, columns of coarser classes, such as
            `["make", "series"]`, the coarsest first: they are the `hierarchy`. Defaults to `None`.

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
    boxed = () if box_columns is None else check_list("box_columns", box_columns, in_order=True)
    if box_columns is not None and len(boxed) != 4:
        raise ValueError(
            "`box_columns` must name four columns: left, top, right, bottom. "
            f"Received: box_columns={box_columns!r}"
        )
    levels = () if levels is None else check_list("levels", levels, in_order=True)
    columns = (path_column, label_column, *boxed, *levels)
    if wrong := [column for column in columns if not isinstance(column, str)]:
        raise ValueError(f"Columns must be given by their names, str. Received: {short(wrong[0])}")
    # The last may be that of the classes themselves.
    levels = [level for level in levels if level != label_column]
    check_path("path", path)
    table = _Table(path, delimiter, (path_column, label_column, *boxed, *levels), split_column)
    photographs = table.cells(path_column)
    names, labels = _read_labels(table, label_column, class_names)
    boxes = list(zip(*map(table.numbers, boxed), strict=True)) or None
    splits = table.splits(split_column)
    _check_rows(table, photographs, labels, boxes, splits)
    chosen = range(len(photographs))
    if splits is not None:
        wanted = _known_split("train" if split is None else str(split))
        chosen = [i for i in chosen if splits[i] == wanted]
        if wanted == "train":
            _warn_of_unseen(path, names, [labels[i] for i in chosen])
        if not chosen:
            raise ValueError(
                f"{path} has no row whose {split_column} is {wanted!r}, only "
                f"{first_few(sorted(set(splits)))}. Received: split={split!r}"
            )
    elif split is not None:
        raise ValueError(
            f"{path} has no column {split_column!r} to take a split by; its columns are "
            f"{first_few(table.columns, 20)}. Received: split={split!r}"
        )
    return Samples(
        paths=_existing_paths(path, [photographs[i] for i in chosen]),
        labels=[labels[i] for i in chosen],
        class_names=names,
        boxes=boxes and [boxes[i] for i in chosen],
        hierarchy={level: _group_of_each(table, level, names, labels) for level in levels},
    )


def _warn_of_unseen(path, class_names, labels):
    seen = set(labels)
    unseen = [name for label, name in enumerate(class_names) if label not in seen]
    if unseen and seen:
        warn(f"Classes of {path} without a row to train on: {first_few(unseen)}.")


def _group_of_each(table, column, class_names, labels):
    """What a column says of every class; ValueError if it says two things of one, or nothing."""
    group_of = {}
    for line, label, group in zip(table.lines, labels, table.cells(column)):
        if group_of.setdefault(label, group) != group:
            raise ValueError(
                f"{table.path} has {class_names[label]!r} in two of {column}: "
                f"{group_of[label]!r} and, in line {line}, {group!r}"
            )
    missing = [name for label, name in enumerate(class_names) if label not in group_of]
    if missing:
        raise ValueError(
            f"{table.path} has no row, and so no {column}, of the classes {first_few(missing)}."
        )
    return [group_of[label] for label in range(len(class_names))]


def table_splits(path, split_column=SPLIT_COLUMN, delimiter=None):
    """How many rows each split of a table has, known splits as `"train"`, `"val"`, `"test"`.

    Args:
        path: Path of the CSV file.
        split_column: Str or `None`. Defaults to `"split"`.
        delimiter: Str or `None`, as for `from_table`. Defaults to `None`.

    Returns:
        Dict from the split (str) to its number of rows, in the table's order; empty if the table
        has no such column.
    """
    table = _Table(path, delimiter, split_column=split_column)
    return dict(collections.Counter(table.splits(split_column) or ()))


class _Table:
    """The rows of a CSV file that has the columns `required`, and the lines they begin in."""

    def __init__(self, path, delimiter, required=(), split_column=None):
        wanted = () if split_column is None else (split_column,)
        if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
            raise ValueError(
                "`delimiter` must be one character, such as ';', or None. "
                f"Received: delimiter={short(delimiter)}"
            )
        self.path = path
        text, skipped = _read_text(path), 0
        if re.match(r"sep=.\r?\n", text):  # Excel's own first line
            delimiter, skipped = delimiter or text[4], 1
            text = text.partition("\n")[2]
        delimiter = delimiter or _find_delimiter(text, (*required, *wanted))
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            self.columns = [name.strip() for name in next(filter(None, reader), [])]
            self._take_other_cases((*required, *wanted))
            self.rows, self.lines, line = [], [], reader.line_num
            for row in reader:
                if any(map(str.strip, row)):
                    self.rows.append(row)
                    self.lines.append(skipped + line + 1)
                line = reader.line_num
        except csv.Error as error:
            raise ValueError(f"{path} is no CSV file ({error})") from None
        self._check(required, wanted)

    def _take_other_cases(self, names):
        """Calls a column as it is asked for, where it differs in upper and lower case alone."""
        lower = [column.lower() for column in self.columns]
        for name in names:
            if name not in self.columns and lower.count(name.lower()) == 1:
                self.columns[lower.index(name.lower())] = name

    def _check(self, required, wanted):
        for name in wanted:
            if name not in (*self.columns, SPLIT_COLUMN):
                raise ValueError(
                    f"{self.path} has no column {name!r} of splits; its columns are "
                    f"{first_few(self.columns, 20)}. Received: split_column={name!r}"
                )
        for name in required:
            if name not in self.columns:
                raise ValueError(
                    f"{self.path} has no column {name!r}; its columns are "
                    f"{first_few(self.columns, 20)}. `path_column`, `label_column` and `levels` say "
                    "what the columns of photographs, labels and coarser classes are called."
                )
        for name in (*required, *wanted):
            if self.columns.count(name) > 1:
                raise ValueError(f"{self.path} has two columns called {name!r}")
        for line, row in zip(self.lines, self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Line {line} of {self.path} has {len(row)} cells, the header "
                    f"{len(self.columns)}. Put cells that hold the delimiter in quotes."
                )
        if not self.rows:
            raise ValueError(f"{self.path} has no rows below its header")

    def cells(self, column):
        """The cells of a column, none of them empty."""
        index = self.columns.index(column)
        values = [row[index].strip() for row in self.rows]
        empty = [i for i, value in enumerate(values) if value.lower() in _EMPTY]
        if empty:
            raise ValueError(
                f"{self.path} has no {column} in line {self.lines[empty[0]]}: the cell holds "
                f"{values[empty[0]]!r} ({len(empty)} such lines)"
            )
        return values

    def splits(self, column):
        """The cells of a column, known splits by their names; `None` if there is no such column."""
        if column in self.columns:
            return [*map(_known_split, self.cells(column))]
        for index, name in enumerate(self.columns if column is not None else ()):
            found = {row[index].strip().lower() for row in self.rows}
            are_splits = len(found) > 1 and sum(map(bool, map(split_of_folder, found))) > 1
            if are_splits or name.lower() in _OF_SPLITS and len(found) < 10:
                warn(
                    f"The column {name!r} of {self.path} seems to name splits "
                    f"({first_few(sorted(found))}), and is not used: `split_column`, or --split-column {name}, takes it."
                )
        return None

    def numbers(self, column):
        """The cells of a column as floats."""
        numbers = []
        for line, cell in zip(self.lines, self.cells(column)):
            try:
                numbers.append(float(cell))
            except ValueError:
                numbers.append(math.nan)
            if not math.isfinite(numbers[-1]):
                raise ValueError(
                    f"{self.path} must hold numbers in the column {column!r}. "
                    f"Received: {cell!r} in line {line}"
                )
        return numbers


def _read_text(path):
    """The text of a table; a ValueError says what else the file is."""
    try:
        content = pathlib.Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"No such table. Received: path={str(path)!r}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"  # spreadsheets put a mark in front of the text
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        kind = next((kind for start, kind in _NO_TABLES.items() if content.startswith(start)), None)
        found = f"it is {kind}" if kind else f"{error}; spreadsheets can save as CSV UTF-8"
        raise ValueError(f"{path} is no CSV file in UTF-8 ({found})") from None


# What is given in place of a table or a folder.
_NO_TABLES = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"\x1f\x8b": "an archive; unpack it",
    b"\xd0\xcf\x11\xe0": "a spreadsheet; save it as CSV",
    b"\xff\xd8\xff": "a photograph; give the folder of photographs",
    b"\x89PNG": "a photograph; give the folder of photographs",
}


def _find_delimiter(text, columns):
    """The delimiter with which the header has most of the columns, then most cells."""
    header = text.lstrip("\r\n").partition("\n")[0]

    def fits(delimiter):
        cells = [cell.strip().strip('"').strip().lower() for cell in header.split(delimiter)]
        return sum(column.lower() in cells for column in columns), len(cells)

    return max(_DELIMITERS, key=fits)


def _read_labels(table, column, class_names):
    """The names of the classes, and the labels of all rows."""
    cells = [class_name(cell) for cell in table.cells(column)]
    if class_names is not None:
        class_names = [class_name(name) for name in check_names("class_names", class_names)]
    # As pandas writes whole numbers of a column that has been floats: 3.0.
    if all(re.fullmatch(r"[+-]?[0-9]+(\.0*)?", cell) for cell in cells):
        cells = [cell.partition(".")[0].removeprefix("+") for cell in cells]
        if class_names is None:
            _check_numbers(table, cells)
        elif not set(cells) <= set(class_names) and not all(map(str.isdecimal, class_names)):
            return class_names, _count(table, cells, len(class_names))
    if class_names is None:
        _check_decimals(table, cells)
        class_names = sorted(set(cells), key=natural_order)
        check_differ_in_more_than_case(class_names, table.path)
    label_of = {name: label for label, name in enumerate(class_names)}
    for line, cell in zip(table.lines, cells):
        if cell not in label_of:
            raise ValueError(
                f"Line {line} of {table.path} has the {column} {cell!r}, which is none of the "
                f"{len(class_names)} class names given: {first_few(class_names)}"
            )
    return class_names, [label_of[cell] for cell in cells]


def _check_decimals(table, cells):
    """Raises ValueError for "1" and "1.0" in a column of numbers of which some are no whole ones."""
    written = {}
    for line, cell in zip(table.lines, cells) if all(map(_DECIMAL.fullmatch, cells)) else ():
        other = written.setdefault(float(cell), cell)
        if other != cell and "." in f"{other}{cell}":
            raise ValueError(
                f"{table.path} writes one number in two ways: {other!r} and, in line {line}, "
                f"{cell!r}. Write it in one."
            )


def _check_numbers(table, cells):
    """Raises ValueError for a number below 0, and for one that is written in two ways."""
    written = {}
    for line, cell in zip(table.lines, cells):
        if cell.startswith("-") and cell.strip("-0"):
            raise ValueError(
                "Labels that are numbers must be at least 0. "
                f"Received: label {cell} in line {line} of {table.path}"
            )
        other = written.setdefault(cell.lstrip("-0"), cell)
        if other != cell:
            raise ValueError(
                f"{table.path} writes one number in two ways: {other!r} and, in line {line}, "
                f"{cell!r}. Write it in one."
            )


def _count(table, cells, count):
    """Labels from numbers that count `count` class names, from 0 or from 1."""
    numbers = [int(cell) if len(cell) < 20 else count + 1 for cell in cells]
    first = 1 if max(numbers) == count and min(numbers) > 0 else 0
    if not first and 0 < min(numbers) <= max(numbers) < count:
        warn(
            f"The labels of {table.path} are counted from 0, so that {min(numbers)} is the second "
            "of `class_names` or a later one; neither 0 nor the number of classes is among them."
        )
    for line, cell, number in zip(table.lines, cells, numbers, strict=True):
        if not first <= number < first + count:
            raise ValueError(
                f"Labels that are numbers must be among `class_names`, or count these {count} "
                f"from 0 (or from 1). Received: label {cell} in line {line} of {table.path}"
            )
    return [number - first for number in numbers]


def _known_split(cell):
    return SPLIT_NAMES.get(cell.lower(), cell)


def _existing_paths(table, photographs):
    """The paths of photographs (str), relative to the folder of the table, each of them there."""
    root = pathlib.Path(table).parent
    paths, missing = [], {}
    for name in photographs:
        if is_remote(name):  # of an object store; a million requests would not be worth it
            paths.append(name)
            continue
        # The same letters may be written in another form in the table than on the disk, and
        # folders be parted as Windows parts them.
        unicode_forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        forms = [str(root / form) for form in (name, *unicode_forms, name.replace("\\", "/"))]
        paths.append(next(filter(os.path.lexists, forms), None))
        if paths[-1] is None:
            missing[forms[0]] = name
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the photographs that {table} lists are not there: "
            f"{first_few(missing)}"
        )
    return paths


def _check_rows(table, photographs, labels, boxes, splits):
    """No row twice; no photograph with two labels unless with two boxes; none in two splits."""
    first = {}
    root = pathlib.Path(table.path).parent
    for i, photograph in enumerate(photographs):
        # The same file may be written in several ways.
        file = os.path.normpath(root / photograph.replace("\\", "/"))
        j = first.setdefault((file, boxes and boxes[i]), i)
        k = first.setdefault(file, i)
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
