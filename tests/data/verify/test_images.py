import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from cin_keras.data import Samples, verify_images
from cin_keras.data.verify import images
from tests.data.small_sets import coloured_samples, encode, from_arrays

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (32, 32, 3), "uint8")
JPEG = encode(np.kron(RNG.integers(0, 256, (8, 8, 3)), np.ones((32, 32, 1))), "JPEG")


def verify(*contents, names=None, **kwargs):
    """What is found of these images in memory, one of each class."""
    names = names or [f"{i}.jpg" for i in range(len(contents))]
    labels = np.arange(len(contents))
    samples = Samples(names, labels, [f"class {k}" for k in labels], encoded=contents, **kwargs)
    found = verify_images(samples, verbose=0)
    notes = [note for note in found.notes if not note.path.startswith("class")]
    return found, notes


def notes_of(content, name="a.jpg"):
    found, notes = verify(content, names=[name])
    assert found.problems == () and found.readable.tolist() == [True]
    return [note.message for note in notes]


# === Problems ===


def test_every_bad_image_is_found_and_no_good_one():
    contents = [JPEG, b"", JPEG[:-400], b"<html></html>", encode(NOISE, "JPEG")]
    found, notes = verify(*contents)
    assert found.readable.tolist() == [True, False, False, False, True]
    assert [problem.path for problem in found.problems] == ["1.jpg", "2.jpg", "3.jpg"]
    for problem, message in zip(
        found.problems, ["the file is empty", "it is truncated", "it is a web page"], strict=True
    ):
        assert message in problem.message
    assert notes == []
    assert "5 images checked: 3 problems" in str(found)
    assert "problem: '3.jpg': it is a web page (HTML)" in str(found)


def test_the_good_ones_make_a_data_set(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in (paths[0], paths[2]):
        path.write_bytes(encode(NOISE))
    samples = Samples(paths, [0, 1, 1], ["a", "b"])
    rest = samples.subset(verify_images(samples, verbose=0).readable)
    assert rest.paths == (str(paths[0]), str(paths[2]))
    found = verify_images(paths, verbose=0)
    assert [problem.path for problem in found.problems] == [str(paths[1])]
    assert "there is no such file" in found.problems[0].message


@pytest.mark.parametrize("samples", ["photographs", pathlib.Path("photographs")])
def test_a_folder_is_no_list(samples):
    with pytest.raises(ValueError, match="python -m cin_keras.data.verify photographs`. Received"):
        verify_images(samples)
    for wrong in (None, 3):
        with pytest.raises(ValueError, match="`samples` must be a list"):
            verify_images(wrong)


def test_no_path_at_all():
    assert str(verify_images([], verbose=0)) == "0 images checked: 0 problems, 0 notes"


def test_the_limit_of_pixels():
    samples = from_arrays(NOISE)
    assert not verify_images(samples, verbose=0).problems
    (problem,) = verify_images(samples, max_pixels=1000, verbose=0).problems
    assert "32×32 pixels are more than max_pixels=1000" in problem.message


def test_a_png_whose_checksum_does_not_fit():
    encoded = bytearray(encode(NOISE))
    encoded[encoded.index(b"IEND") - 5] ^= 1  # of the compressed pixels, which decode all the same
    Samples(["a"], [0], ["a"], encoded=[bytes(encoded)]).read(0)
    (problem,) = verify(bytes(encoded))[0].problems
    assert "checksum" in problem.message


def fill_with_zeros(data, middle):
    return data[:middle] + bytes(600) + data[middle + 600 :]


def lose(data, middle):
    return data[:middle] + data[middle + 600 :]


def cut_and_close(data, middle):
    return data[:middle] + b"\xff\xd9"


@pytest.mark.parametrize("damage", [fill_with_zeros, lose, cut_and_close])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_damaged_inside_is_found(options, damage):
    image = Image.fromarray(np.kron(NOISE, np.ones((8, 8, 1), "uint8")))
    whole = encode(image, "JPEG", quality=90, **options)
    damaged = damage(whole, len(whole) // 2)
    seen = np.asarray(Samples(["a"], [0], ["a"], encoded=[damaged]).read(0), int)
    assert np.abs(seen - np.asarray(image)).mean() > 5  # decodes, and looks wrong
    found, _ = verify(whole, damaged, whole)
    assert found.readable.tolist() == [True, False, True]
    (problem,) = found.problems
    assert problem.path == "1.jpg"
    assert re.search(r"compressed data are damaged.*\(libjpeg: .+\)", problem.message)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_whole_jpegs_are_not_suspected(options, quality, subsampling):
    for image in (NOISE, np.full((40, 60, 3), 255), np.kron(NOISE, np.ones((4, 4, 1)))):
        for comment in (b"", b"\xff\x9c\xff\xd8\xff\xd9"):
            encoded = encode(
                image, "JPEG", quality=quality, subsampling=subsampling, comment=comment, **options
            )
            assert verify(encoded)[0].problems == ()


def test_a_box_outside_of_its_image():
    boxes = [[0, 0, 32, 32], [40, 0, 50, 9], [0, -9, 9, 0], [20, 20, 90, 30], [0, 0, 32.5, 32]]
    contents = [encode(np.roll(NOISE, i)) for i in range(5)]
    found, notes = verify(*contents, names=["0", "1", "2", "3", "4"], boxes=boxes)
    assert [problem.path for problem in found.problems] == ["1", "2"]
    assert found.problems[0].message == "its box (40, 0, 50, 9) lies outside of its 32×32 pixels"
    assert [(note.path, note.message) for note in notes] == [
        ("3", "its box (20, 20, 90, 30) reaches beyond its 32×32 pixels")
    ]


def test_a_crop_is_looked_at_and_not_what_is_around_it():
    half = np.zeros((32, 32, 3), "uint8")
    half[:, 16:] = NOISE[:, 16:]
    crops = [[16, 0, 32, 32], [0, 0, 16, 32], [40, 0, 50, 9]]
    samples = Samples(list("012"), [0, 0, 0], ["x"], encoded=[encode(half)] * 3, crops=crops)
    found = verify_images(samples, verbose=0)
    assert [problem.path for problem in found.problems] == ["2"]
    assert {note.path for note in found.notes if "one colour" in note.message} == {"1"}


def test_a_box_is_compared_with_the_upright_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encode(NOISE[:16], "PNG", exif=exif)  # 32×16, upright 16×32
    found, notes = verify(turned, names=["a.png"], boxes=[[2, 18, 14, 30]])
    assert found.problems == () and notes == []


def test_memory_that_runs_out_is_a_problem(monkeypatch):
    def fail(image):
        raise MemoryError

    monkeypatch.setattr(images, "to_rgb", fail)
    (problem,) = verify(JPEG)[0].problems
    assert "more memory than there is" in problem.message


# === Notes ===


def test_a_plain_photograph_gives_no_note():
    assert notes_of(JPEG) == notes_of(JPEG, "a.JPEG") == notes_of(JPEG, "without suffix") == []
    assert notes_of(encode(NOISE), "a.png") == []


def test_a_name_with_another_formats_ending():
    assert notes_of(encode(NOISE)) == ["it is PNG in spite of its name, and is used as such"]


@pytest.mark.parametrize("format", ["GIF", "TIFF"])
def test_frames_that_are_not_used(format):
    frames = [Image.fromarray(np.roll(NOISE, i)) for i in range(3)]
    encoded = encode(frames[0], format, save_all=True, append_images=frames[1:])
    assert notes_of(encoded, f"a.{format}") == [
        "it has 3 frames or pages, of which the first is used"
    ]


def test_cmyk_of_unknown_polarity():
    adobe = encode(Image.fromarray(NOISE).convert("CMYK"), "JPEG")
    assert notes_of(adobe) == []
    segment = adobe.index(b"\xff\xee")
    (note,) = notes_of(adobe[:segment] + adobe[segment + 16 :])
    assert "does not say whether it is inverted" in note


def test_broken_exif():
    (note,) = notes_of(encode(NOISE, "JPEG", exif=b"Exif\0\0no TIFF header at all"))
    assert "its EXIF data are broken, so it is taken to be upright" == note


@pytest.mark.parametrize(
    "image, message",
    [
        (Image.new("RGB", (1, 1)), "it has 1×1 pixels"),
        (Image.new("RGB", (100, 7)), "it has 100×7 pixels"),
        (Image.new("RGB", (9, 9), "teal"), "it has one colour all over"),
        (Image.new("RGBA", (9, 9), (1, 2, 3, 0)), "it is wholly transparent"),
    ],
)
def test_pictures_of_nothing(image, message):
    assert notes_of(encode(image), "a.png") == [message]


def test_16_bits_of_which_few_are_used():
    values = np.arange(100, dtype="uint16").reshape(10, 10)
    assert notes_of(encode(Image.fromarray(values * 600)), "a.png") == []
    (note,) = notes_of(encode(Image.fromarray(values * 30)), "a.png")
    assert "no value above 2970 of 65535, so it is nearly black" in note


# === Lists ===


def test_the_same_image_twice():
    a, b = (encode(np.roll(NOISE, i)) for i in range(2))
    samples = Samples(
        ["1.png", "2.png", "3.png", "1.png", "4.png"],
        [0, 0, 0, 0, 1],
        ["cat", "dog"],
        encoded=[a, b, a, a, b],
    )
    found = verify_images(samples, verbose=0)
    assert found.problems == () and found.readable.all()
    assert [str(note) for note in found.notes[:3]] == [
        "'3.png': it is the same image as '1.png'",
        "'1.png': it is listed twice",
        "'4.png': it is the same image as '2.png', but of another class: 'dog', not 'cat'",
    ]


def test_classes_with_few_images():
    samples = coloured_samples([0, 0, 2, 3, 3])
    notes = verify_images(samples, verbose=0).notes
    by_class = {note.path: note.message for note in notes if note.path.startswith("class")}
    assert set(by_class) == {"class 1", "class 2"}
    assert "the class has no image" in by_class["class 1"]
    assert "the class has one image" in by_class["class 2"]
    notes = [str(note) for note in verify_images(coloured_samples([0, 0]), verbose=0).notes]
    assert sum("all images are of this class" in note for note in notes) == 1


# === The pass ===


def test_progress_and_order_over_many_images(capsys, monkeypatch):
    monkeypatch.setattr(images, "available_cores", lambda: 4)
    count = 1300  # more than a slice
    good = encode(NOISE)
    bad = set(range(7, count, 97))
    contents = [b"text" if i in bad else good for i in range(count)]
    samples = Samples(map(str, range(count)), [0] * count, ["class"], encoded=contents)
    found = verify_images(samples)
    assert [int(problem.path) for problem in found.problems] == sorted(bad)
    assert set(np.flatnonzero(~found.readable)) == bad
    assert re.search(r"1300/1300", capsys.readouterr().err)
    verify_images(samples.subset(range(5)), verbose=0)
    assert capsys.readouterr().err == ""


def test_an_interrupt_ends_the_pass(monkeypatch):
    done = []

    def inspect(samples, index, max_pixels):
        done.append(index)
        if index == 20:
            raise KeyboardInterrupt
        return images._Inspected()

    monkeypatch.setattr(images, "available_cores", lambda: 2)
    monkeypatch.setattr(images, "_inspect", inspect)
    with pytest.raises(KeyboardInterrupt):
        verify_images(coloured_samples([0] * 250 + [1] * 2), verbose=0)
    assert 20 in done and len(done) < 50
