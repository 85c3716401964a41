"""Fonts for figures: classes may be named in any script, and Matplotlib's own font has few."""

import contextlib
import functools
import unicodedata
import warnings

import numpy as np

from cin_keras.text import warn

# Families that have a box, nothing or a picture in colours for each character.
NOT_TO_READ = "lastresort", "last resort", "blank", "emoji"


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
    words = text.get_text()
    if words.isascii():
        return ""
    # As some systems name files, an accent or a part of a syllable stands by itself.
    text.set_text(words := unicodedata.normalize("NFC", words))
    characters = frozenset(x for x in words if x != " " and unicodedata.category(x) != "Cc")
    best, lacking = _best_font(characters, tuple(_own_fonts(text.get_fontproperties())))
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
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        yield


def _own_fonts(properties):
    """The files of the fonts that Matplotlib takes for a text, one after the other."""
    from matplotlib.font_manager import findfont

    if properties.get_file():
        yield properties.get_file()
        return
    for family in properties.get_family():
        alone = properties.copy()
        alone.set_family(family)
        yield findfont(alone)


@functools.cache
def _best_font(characters, own):
    """`(path, lacking)`: the font that has the most of some characters, and what it lacks of them.

    The path is `None` where no other has more than `own`, paths of fonts of which each is asked for
    what those before it lack.
    """
    best, lacking = None, characters
    for path in own:
        lacking = _lacking(lacking, _codes(path))
    for path, codes in _system_fonts() if lacking else ():
        others = _lacking(characters, codes)
        if len(others) < len(lacking):
            best, lacking = path, others
        if not lacking:
            break
    return best, lacking


def _lacking(characters, codes):
    """Those characters whose code points are not among sorted ones."""
    wanted = np.array([ord(x) for x in characters], np.int64)
    return frozenset(map(chr, wanted[~np.isin(wanted, codes)]))


@functools.cache
def _codes(path):
    """The code points that a font has, a sorted array."""
    from matplotlib.font_manager import get_font

    return np.array(sorted(get_font(path).get_charmap()), np.int64)


@functools.cache
def _system_fonts():
    """Path and code points of each font of this system, the plainest first."""
    from matplotlib.font_manager import findSystemFonts, get_font

    found = []
    for path in findSystemFonts():
        # Files that are no fonts, and fonts that are not made of outlines.
        with contextlib.suppress(OSError, RuntimeError, ValueError, OverflowError):
            font = get_font(path)
            family = font.family_name.lower()
            if font.scalable and not any(word in family for word in NOT_TO_READ):
                plain = "sans" in family and font.style_name in ("Regular", "Book")
                found.append((not plain, path, _codes(path)))
    return [(path, codes) for _, path, codes in sorted(found, key=lambda font: font[:2])]
