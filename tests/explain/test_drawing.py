import pathlib

from cin_keras.explain.drawing import caption


def test_a_caption_has_room_for_what_is_wide():
    lines = caption("シジュウカラ" * 4).split("\n")
    assert [len(line) for line in lines] == [15, 9]
    lines = caption("a word and " * 4).split("\n")
    assert len(lines) == 2 and max(map(len, lines)) <= 30


def test_a_caption_is_cut_off_after_four_lines():
    lines = caption("x" * 500).split("\n")
    assert len(lines) == 4 and lines[-1].endswith("…")


def test_a_caption_of_what_is_no_text():
    assert caption(pathlib.PurePosixPath("a/b.jpg")) == "a/b.jpg"
    assert caption("") == ""
