"""Checks of arguments that several modules share."""

import math
import numbers


def check_number(name, value, above=None, least=None, below=math.inf):
    """Raises ValueError unless `value` is a finite number in the range.

    Args:
        name: Str, the argument's name, for the message.
        value: What was received.
        above: Number that `value` must exceed, or `None`. Defaults to `None`.
        least: Number that `value` must reach, or `None`. Defaults to `None`.
        below: Number that `value` must stay below. Defaults to infinity.

    Returns:
        `value`.

    Example:

    >>> check_number("margin", 0.5, above=0)
    0.5
    """
    bounds = []
    if above is not None:
        bounds.append(f"above {above}")
    if least is not None:
        bounds.append(f"of at least {least}")
    if below < math.inf:
        bounds.append(f"below {below}")
    fits = (
        isinstance(value, numbers.Real)
        and (above is None or value > above)
        and (least is None or value >= least)
        and value < below
    )
    if not fits:
        raise ValueError(
            f"`{name}` must be a number {' and '.join(bounds)}. Received: {name}={value!r}"
        )
    return value


def check_int(name, value, least):
    """Returns `value` as an int; ValueError unless it is a whole number of at least `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"`{name}` must be an int of at least {least}. Received: {name}={value!r}")
    return int(value)


def check_bool(name, value):
    """Returns `value` as a bool; ValueError unless it is `True` or `False`."""
    if value not in (True, False):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)
