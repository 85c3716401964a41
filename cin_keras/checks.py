"""Checks of arguments that several modules share: what fits comes back, the rest is refused."""

import math
import numbers
import os
import pathlib


def check_number(name, value, above=None, least=None, below=math.inf, most=None):
    """Raises ValueError unless `value` is a finite number in the range; a bool is none.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received.
        above: Number that `value` must exceed, or `None`. Defaults to `None`.
        least: Number that `value` must reach, or `None`. Defaults to `None`.
        below: Number that `value` must stay below. Defaults to infinity.
        most: Number that `value` must not exceed, or `None`. Defaults to `None`.

    Returns:
        `value`, as an int or float of Python.

    Example:

    >>> check_number("margin", 0.5, above=0)
    0.5
    """
    bounds = []
    if above is not None:
        bounds.append(f"above {above}")
    if least is not None:
        bounds.append(f"of at least {least}" if most is None else f"from {least} to {most}")
    elif most is not None:
        bounds.append(f"of at most {most}")
    if below < math.inf:
        bounds.append(f"below {below}")
    fits = (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and (above is None or value > above)
        and (least is None or value >= least)
        and -math.inf < value < below
        and (most is None or value <= most)
    )
    if not fits:
        words = " and ".join(bounds) or "that is finite"
        raise ValueError(f"`{name}` must be a number {words}. Received: {name}={short(value)}")
    # JSON holds no other kinds of numbers.
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_int(name, value, least, most=None, or_none=False):
    """Returns `value` as an int; ValueError unless it is a whole number in the range.

    NumPy's integers are whole numbers; a bool and a float are not.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received.
        least: Int that `value` must reach.
        most: Int that `value` must not exceed, or `None`. Defaults to `None`.
        or_none: Bool, whether `None` passes, too, as it is. Defaults to `False`.

    Example:

    >>> check_int("batch_size", np.int64(32), least=1)
    32
    """
    if or_none and value is None:
        return None
    if not _is_int(value) or value < least or most is not None and value > most:
        limits = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"`{name}` must be an int {limits}. Received: {name}={short(value)}")
    return int(value)


def check_bool(name, value):
    """Returns `value` as a bool; ValueError unless it is `True` or `False` (NumPy's, too)."""
    # By its name, as the command line checks its arguments before NumPy is loaded.
    if type(value).__name__ not in ("bool", "bool_"):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={short(value)}")
    return bool(value)


def check_choice(name, value, choices):
    """Returns `value`; ValueError unless it is one of `choices`.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received.
        choices: Sequence of str and `None`, in the order of the message.

    Example:

    >>> check_choice("on_error", "skip", ("raise", "skip"))
    'skip'
    """
    if not any(value is choice or isinstance(value, str) and value == choice for choice in choices):
        *others, last = map(repr, choices)
        words = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"`{name}` must be {words}. Received: {name}={short(value)}")
    return value


def check_size(name, value):
    """Returns `(height, width)`, ints; ValueError unless given one positive int or two.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received.

    Example:

    >>> check_size("image_size", 448), check_size("image_size", (np.int64(96), 64))
    ((448, 448), (96, 64))
    """
    is_list = isinstance(value, (tuple, list)) or len(getattr(value, "shape", ())) > 0
    sizes = tuple(value) if is_list else (value,) * 2
    if len(sizes) != 2 or not all(_is_int(size) and size > 0 for size in sizes):
        raise ValueError(
            f"`{name}` must be a positive int or (height, width). Received: {name}={short(value)}"
        )
    return int(sizes[0]), int(sizes[1])


def check_path(name, value):
    """Returns a path; ValueError unless it is one, and not empty: that would be the current folder.

    Args:
        name: Str, the argument's name, for the message.
        value: Str or path.

    Returns:
        `pathlib.Path`.

    Example:

    >>> check_path("data_dir", "photographs").name
    'photographs'
    """
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(
            f"`{name}` must be a path, and not empty ('.' is the current folder). "
            f"Received: {name}={short(value)}"
        )
    return pathlib.Path(value)


def check_list(name, value, in_order=False):
    """Returns the items of `value` as a tuple; ValueError for a str, bytes, or no sequence at all.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received: a list, a tuple, an array, or another iterable.
        in_order: Bool, whether a set or a dict, too, is refused. Defaults to `False`.

    Example:

    >>> check_list("class_names", ["cat", "dog"])
    ('cat', 'dog')
    """
    is_one = isinstance(value, (str, bytes, os.PathLike))
    if is_one or not hasattr(value, "__iter__"):
        advice = f"; for one, [{short(value)}]" if is_one else ""
        raise ValueError(f"`{name}` must be a list. Received: {name}={short(value)}{advice}")
    if in_order and isinstance(value, (set, frozenset, dict)):
        raise ValueError(
            f"`{name}` must be a list, which has an order. Received: {name}={short(value)}"
        )
    return tuple(value)


def check_names(name, value):
    """Returns names as a tuple of str; ValueError for what is no name, or in no order.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received: a list, a tuple or an array of str; whole numbers are names, too.

    Example:

    >>> check_names("class_names", ["cat", 737])
    ('cat', '737')
    """
    items = check_list(name, value, in_order=True)
    for item in items:
        is_text = isinstance(item, str) and item.strip() and "\0" not in item
        if not is_text and not _is_int(item):
            raise ValueError(
                f"`{name}` must be names, str and none of them empty. "
                f"Received: {short(item)} among {len(items)}"
            )
    return tuple(str(item) for item in items)


def check_labels(name, labels, num_classes, count=None, names=None):
    """Returns labels as an array of int64; ValueError unless they are one class number each.

    Args:
        name: Str, the argument's name, for the message.
        labels: What was received: integers from 0 to `num_classes - 1`, one-dimensional.
        num_classes: Int.
        count: Int, how many there must be, or `None` for at least one. Defaults to `None`.
        names: Sequence, what a message calls each, or `None` for its index. Defaults to `None`.

    Example:

    >>> check_labels("labels", [0, 2, 1], num_classes=3)
    array([0, 2, 1])
    """
    import numpy as np

    labels = np.asarray(labels)
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"`{name}` must be one integer a sample, shape (samples,), and at least one. "
            f"Received: dtype={labels.dtype}, shape={labels.shape}"
        )
    if count is not None and len(labels) != count:
        raise ValueError(
            f"`{name}` must hold one label for each of {count} samples. "
            f"Received: {len(labels)} labels"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        place = f"at index {wrong[0]}" if names is None else f"for {names[wrong[0]]!r}"
        raise ValueError(
            f"`{name}` must lie in 0..{num_classes - 1} ({num_classes} classes). Received: "
            f"{labels[wrong[0]]} {place} ({wrong.size} such labels)"
        )
    return labels.astype("int64")


def positive(number):
    """A type for argparse: `positive(int)` takes "3" but not "0" or "-1".

    Args:
        number: `int` or `float`.

    Returns:
        Function from str to `number`, which raises `ValueError`.

    Example:

    >>> positive(int)("3")
    3
    """

    def parse(text):
        value = number(text)
        if not 0 < value < math.inf:
            raise ValueError(text)
        return value

    parse.__name__ = f"positive {number.__name__}"
    return parse


def _is_int(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def agree(shape_a, shape_b):
    """Whether two shapes, of which `None` is not known yet, can be the same.

    Example:

    >>> agree((None, 5), (4, 5)), agree((4,), (5,))
    (True, False)
    """
    return len(shape_a) == len(shape_b) and all(
        a == b or None in (a, b) for a, b in zip(shape_a, shape_b)
    )


def first_line(error):
    """What an error says first, or the name of its class if it says nothing.

    Example:

    >>> first_line(ValueError("Too long.\\nAnd so on."))
    'Too long.'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def short(value):
    """The `repr` of a value on one line of a message, cut off at 80 characters.

    Example:

    >>> short("a\\nb")
    "'a\\\\nb'"
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
