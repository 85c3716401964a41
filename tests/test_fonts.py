import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from cin_keras import fonts
from cin_keras.files import save_figure
from cin_keras.fonts import suit_font


def write_font(path, characters, style="Regular", family="Some Sans"):
    """A font in which each of the characters is a filled square."""
    names = [".notdef", *(f"uni{ord(x):04X}" for x in characters)]
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in [(0, 900), (900, 900), (900, 0)]:
        pen.lineTo(corner)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:])))
    builder.setupGlyf({name: square if name in names[1:] else empty for name in names})
    builder.setupHorizontalMetrics({name: (1000, 0) for name in names})
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


@pytest.fixture
def system_fonts(monkeypatch):
    """Function that has the system own these fonts alone."""

    def have(*paths):
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_, **__: list(paths))
        for function in (fonts._system_fonts, fonts._best_font):
            function.cache_clear()

    yield have
    have()


def text_of(words, **options):
    return Figure(figsize=(2, 1), dpi=50).text(0.1, 0.1, words, **options)


def file_of(text):
    return text.get_fontproperties().get_file()


def test_a_font_of_the_system_where_the_usual_one_lacks_a_character(tmp_path, system_fonts):
    one = write_font(tmp_path / "one.ttf", "猫a")
    both = write_font(tmp_path / "both.ttf", "猫犬 a")
    system_fonts(one, both)
    text = text_of("猫犬 a", fontsize=7)
    assert suit_font(text) == ""
    assert file_of(text) == both
    assert text.get_fontsize() == 7
    usual = text_of("Bachstelze (männlich) – π")
    assert suit_font(usual) == "" and file_of(usual) is None


def test_the_plainest_of_the_fonts_that_have_as_much(tmp_path, system_fonts):
    bold = write_font(tmp_path / "a.ttf", "猫", style="Bold")
    serif = write_font(tmp_path / "b.ttf", "猫", family="Some Serif")
    plain = write_font(tmp_path / "c.ttf", "猫")
    last = write_font(tmp_path / "d.ttf", "猫犬", family="Last Resort Sans")
    emoji = write_font(tmp_path / "e.ttf", "猫犬", family="Some Emoji")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    system_fonts(str(tmp_path / "broken.ttf"), last, emoji, bold, serif, plain)
    text = text_of("猫犬")
    assert suit_font(text) == "犬"
    assert file_of(text) == plain


def test_a_figure_shows_the_character(tmp_path, system_fonts):
    system_fonts(write_font(tmp_path / "cat.ttf", "猫"))
    text = text_of("猫", fontsize=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = Image.open(save_figure(text.figure, tmp_path / "figure.png")).convert("L")
    # A square of 0.9 of 40 points, 50 pixels an inch.
    assert np.sum(np.asarray(image) < 128) == pytest.approx((0.9 * 40 / 72 * 50) ** 2, rel=0.1)


def test_labels_of_an_axis(tmp_path, system_fonts):
    path = write_font(tmp_path / "cat.ttf", "猫")
    system_fonts(path)
    figure = Figure(figsize=(2, 1), dpi=50)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xticks([0, 1], ["猫", "cat"])
    save_figure(figure, tmp_path / "figure.png")
    assert list(map(file_of, axes.get_xticklabels())) == [path, None]


def test_one_sentence_for_what_no_font_has(tmp_path, system_fonts):
    system_fonts()
    text = text_of("猫犬\n\tcat")
    with pytest.warns(UserWarning) as found:
        save_figure(text.figure, tmp_path / "figure.png")
    assert len(found) == 1
    sentence = str(found[0].message)
    assert "the characters 犬猫: figures show boxes" in sentence and "Noto Sans CJK" in sentence


def test_a_family_that_the_user_has_chosen(tmp_path, system_fonts, monkeypatch):
    """Matplotlib takes from the second what the first lacks."""
    system_fonts(write_font(tmp_path / "other.ttf", "猫犬"))
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", list(manager.ttflist))
    manager.addfont(write_font(tmp_path / "own.ttf", "猫", family="Own Sans"))
    chosen = text_of("猫 cat", family=["DejaVu Sans", "Own Sans"])
    assert suit_font(chosen) == "" and file_of(chosen) is None


def test_syllables_in_parts(tmp_path, system_fonts):
    """As macOS names files; few fonts have the parts."""
    path = write_font(tmp_path / "sparrow.ttf", "참새")
    system_fonts(path)
    text = text_of("\u110e\u1161\u11b7\u1109\u1162")
    assert suit_font(text) == ""
    assert text.get_text() == "참새" and file_of(text) == path
