"""Fonts for figures: classes may be named in any script, and Matplotlib's own font has few."""

import contextlib
import functools
import warnings

import numpy as np

from cin_keras.text import warn


def suit_font(text):
    """Sets a text in a font of this system that has its characters, if its own lacks one.

    Args:
        text: `matplotlib.text.Text`; it keeps its size and its colour.

    Returns:
        Str, the characters that the best of the fonts lacks, too.

    Example:

    >>> from matplotlib.text import Text
    >>> suit_font(Text(text="Bachstelze (männlich)"))
    ''
    """
    if text.get_text().isascii():
        return ""
    from matplotlib.font_manager import findfont

    codes = np.array([ord(x) for x in set(text.get_text()) if x.isprintable() and x != " "], int)
    lacking = _lacking(codes, _codes(findfont(text.get_fontproperties())))
    best = None
    for path, found in _system_fonts() if lacking else ():
        if len(_lacking(codes, found)) < len(lacking):
            best, lacking = path, _lacking(codes, found)
    if best:
        properties = text.get_fontproperties().copy()
        properties.set_file(best)
        text.set_fontproperties(properties)
    return "".join(sorted(lacking))


def suit_fonts(figure):
    """`suit_font` for each text of a figure; warns, in one sentence, of what no font has.

    Args:
        figure: `matplotlib.figure.Figure`.
    """
    from matplotlib.text import Text

    lacking = sorted(set().union(*map(suit_font, figure.findobj(Text))))
    if lacking:
        few = "".join(lacking[:10]) + ("…" if len(lacking) > 10 else "")
        warn(
            f"No font of this system has the characters {few}: figures show boxes in their place. "
            "Install one that has them, such as Noto Sans CJK for Chinese, Japanese and Korean."
        )


@contextlib.contextmanager
def no_warnings_of_glyphs():
    """A block without Matplotlib's own warnings, one for each character and figure."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _lacking(codes, font):
    """Those of some code points that are not among a font's, as a set of characters."""
    return set(map(chr, np.setdiff1d(codes, font)))


@functools.cache
def _codes(path):
    """The code points that a font has, a sorted array."""
    from matplotlib.font_manager import get_font

    return np.array(sorted(get_font(path).get_charmap()), int)


@functools.cache
def _system_fonts():
    """Path and code points of each font of this system, the plainest first."""
    from matplotlib.font_manager import findSystemFonts, get_font

    found = []
    for path in findSystemFonts():
        # Some that are not made of outlines, such as emoji, Matplotlib cannot draw.
        with contextlib.suppress(OSError, RuntimeError):
            font = get_font(path)
            plain = "Sans" in font.family_name and font.style_name in ("Regular", "Book")
            # A last resort has a box for whatever there is.
            if font.scalable and "lastresort" not in font.family_name.replace(" ", "").lower():
                found.append((not plain, path, _codes(path)))
    return [(path, codes) for _, path, codes in sorted(found, key=lambda font: font[:2])]
