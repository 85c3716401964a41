import pytest

from cin_keras.text import plural, shorten


@pytest.mark.parametrize(
    "name, width, expected",
    [
        ("Audi S4", 7, "Audi S4"),
        ("Audi S4 Sedan 2007", 11, "Audi…2007"),
        (" two\n lines ", 20, "two lines"),
        ("abcdefghij", 6, "abc…ij"),
    ],
)
def test_shorten(name, width, expected):
    assert shorten(name, width) == expected


def test_plural():
    words = [plural(1, "image"), plural(2, "image"), plural(0, "class", "classes")]
    assert words == ["1 image", "2 images", "0 classes"]
