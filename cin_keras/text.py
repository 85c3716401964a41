"""Names, numbers and sentences as messages, figures and the report write them."""

import sys
import warnings


def shorten(name, width):
    """`name` on one line of at most `width` characters; an ellipsis stands for its middle."""
    # The middle, as names such as "Audi S4 Sedan 2007" often differ at the end only.
    name = " ".join(str(name).split())
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return name[: width - 1 - tail].rstrip() + "…" + name[-tail:].lstrip()


def plural(number, one, many=None):
    """`number` with its noun: "1 image", "2 images"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def first_few(names, count=5):
    """The first names, separated by commas, on one line, and an ellipsis if there are more."""
    shown = [name if name.isprintable() else repr(name)[1:-1] for name in list(names)[:count]]
    return ", ".join(shown) + (", …" if len(names) > count else "")


def warn(sentence):
    """A warning that names the line of the user's program from which this package was called."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("cin_keras."):
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, stacklevel=level + 1)
