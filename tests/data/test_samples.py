import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cin_keras.data import (
    Samples,
    drawn_cars,
    find_duplicates,
    image_dataset,
    pair_dataset,
    random_splits,
)
from cin_keras.data.samples import fingerprint
from tests.data.small_sets import encode


def make(labels=(0, 0, 0, 1, 1, 2), **kwargs):
    arguments = {
        "paths": [f"{i}.jpg" for i in range(len(labels))],
        "labels": labels,
        "class_names": ["cat", "dog", "owl", "yak"],
        "boxes": [[i, 0, i + 1, 2] for i in range(len(labels))],
        "parts": [{"head": (i, i, 9, 9)} for i in range(len(labels))],
        "encoded": [bytes([i]) for i in range(len(labels))],
    }
    return Samples(**{**arguments, **kwargs})


def test_contents():
    samples = make()
    assert repr(samples) == "Samples(4 classes, 6 images, 0–3 a class)"
    assert (len(samples), samples.num_classes) == (6, 4)
    assert samples == samples != make()
    assert (samples.labels.dtype, samples.boxes.dtype) == ("int32", "float32")


@pytest.mark.parametrize("indices", [[4, 0], np.array([4, 0]), range(4, -1, -4)])
def test_subset_keeps_everything_that_belongs_to_a_sample(indices):
    subset = make().subset(indices)
    assert subset.paths == ("4.jpg", "0.jpg")
    assert subset.labels.tolist() == [1, 0]
    assert subset.boxes.tolist() == [[4, 0, 5, 2], [0, 0, 1, 2]]
    assert subset.encoded == (b"\4", b"\0")
    assert subset.parts == ({"head": (4, 4, 9, 9)}, {"head": (0, 0, 9, 9)})
    assert subset.class_names == ("cat", "dog", "owl", "yak")


def test_subset_by_mask_and_of_bare_samples():
    bare = make(boxes=None, parts=None, encoded=None)
    subset = bare.subset(bare.labels == 1)
    assert subset.paths == ("3.jpg", "4.jpg")
    assert subset.boxes is subset.parts is subset.encoded is None


@pytest.mark.parametrize("indices", ["a", None, 3, slice(0, 3), [99], [0.5], np.ones(5, bool)])
def test_what_is_no_index_is_named(indices):
    with pytest.raises(ValueError, match="`indices` must be whole numbers below 6, or a mask of 6"):
        make().subset(indices)


@pytest.mark.parametrize("index", [6, -7, "a", None, 0.5])
def test_one_sample_that_is_not_there_is_named(index):
    with pytest.raises(ValueError, match="`index` must be an int from -6 to 5. Received: index="):
        make().read(index)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"paths": {f"{i}.jpg" for i in range(6)}}, "`paths` must be a list, which has an order"),
        ({"paths": ["", *"abcde"]}, "`paths` must be one str a sample"),
        ({"class_names": ["a", None, "b", "c"]}, "`class_names` must be names.*None among 4"),
        ({"class_names": ["a", float("nan"), "b", "c"]}, "`class_names` must be names.*nan among"),
        ({"class_names": ["a", " ", "b", "c"]}, "`class_names` must be names.*' ' among 4"),
        ({"class_names": {"a", "b", "c", "d"}}, "`class_names` must be a list, which has an order"),
        ({"hierarchy": {" ": ["x", "y", "x", "y"]}}, "`hierarchy` must be a dict from the name"),
        ({"hierarchy": {"kind": ["x", ["y"], "x", "y"]}}, r"hierarchy\['kind'\]` must be names"),
    ],
)
def test_what_is_no_name_or_in_no_order_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        make(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"boxes": [None, *[[0, 0, 1, 1]] * 5]}, r"`boxes` must be four numbers a sample.*\[None, "),
        ({"crops": [[0, 0, 1], *[[0, 0, 1, 1]] * 5]}, "`crops` must be four numbers a sample"),
        ({"boxes": [["left"] * 4] * 6}, "`boxes` must be four numbers a sample.*'left'"),
        ({"bottom_strips": 20}, "`bottom_strips` must be a list. Received: bottom_strips=20"),
        ({"labels": 0}, "`labels` must be a list. Received: labels=0"),
    ],
)
def test_what_is_not_one_entry_a_sample_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make(), **changed)


def test_columns_may_be_zipped():
    columns = range(6), [0] * 6, range(1, 7), [2] * 6
    samples = dataclasses.replace(make(), boxes=zip(*columns), labels=iter([0, 0, 0, 1, 1, 2]))
    np.testing.assert_array_equal(samples.boxes, make().boxes)
    np.testing.assert_array_equal(samples.labels, make().labels)


@pytest.mark.parametrize("indices", [[], np.zeros(6, bool), np.zeros(0, int), ()])
def test_a_subset_of_none_is_refused(indices):
    with pytest.raises(ValueError, match="A subset must have a sample.*6 images"):
        make().subset(indices)


@pytest.mark.parametrize(
    "fraction, expected",
    [(0.1, [1, 0, 0, 2]), (0.3, [3, 0, 1, 6]), (0.5, [5, 0, 1, 10]), (0.99, [9, 0, 1, 19])],
)
def test_split(fraction, expected):
    labels = np.repeat([0, 1, 2, 3], [10, 1, 2, 20])[np.random.default_rng(0).permutation(33)]
    samples = make(labels)
    rest, held_out = samples.split(fraction, seed=3)
    assert sorted(rest.paths + held_out.paths) == sorted(samples.paths)
    for part in (rest, held_out):
        assert part.paths == tuple(sorted(part.paths, key=samples.paths.index))
        np.testing.assert_array_equal(part.labels, [labels[int(p[:-4])] for p in part.paths])
    assert np.bincount(held_out.labels, minlength=4).tolist() == expected


def sample_sizes(*sizes):
    labels = np.repeat(range(len(sizes)), sizes)
    return Samples(map(str, range(len(labels))), labels, [f"c{i}" for i in range(len(sizes))])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_small_classes_give_the_share_of_the_whole(size):
    rest, held_out = sample_sizes(*[size] * 40, 3).split(0.1)
    assert abs(len(held_out) - round(0.1 * (40 * size + 3))) <= (3 if size == 1 else 0)
    assert np.bincount(rest.labels).min() >= 1
    assert np.bincount(held_out.labels).max() <= 1


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("sizes", [[15] * 20, [15, 14, 16, 25, 33, 7], [5] * 30 + [95], [14] * 9])
def test_the_share_is_that_of_the_whole(sizes, fraction):
    rest, held_out = sample_sizes(*sizes).split(fraction)
    assert len(held_out) == pytest.approx(fraction * sum(sizes), abs=1)
    assert len(rest) + len(held_out) == sum(sizes)
    counts = np.bincount(held_out.labels, minlength=len(sizes))
    assert np.abs(counts - fraction * np.array(sizes)).max() <= 1


def test_what_does_not_divide_goes_where_the_remainder_is_largest():
    held_out = sample_sizes(14, 16, 18, 12).split(0.1)[1]
    assert np.bincount(held_out.labels).tolist() == [1, 2, 2, 1]


def test_classes_of_three_give_before_those_of_two():
    held_out = sample_sizes(*[2] * 20, *[3] * 20).split(0.1)[1]
    assert len(held_out) == 10 and held_out.labels.min() >= 20
    assert len(sample_sizes(2, 2).split(0.01)[1]) == 1


def test_all_boxes_of_a_photograph_go_the_same_way():
    rng = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in rng.permutation(np.repeat(range(40), 3))]
    samples = make(rng.integers(0, 4, 120), paths=names)
    rest, held_out = samples.split(0.25, seed=1)
    assert len(held_out) == 30 and len(rest) == 90
    assert not set(rest.paths) & set(held_out.paths)
    # Two photographs of class 0, in each of which there is the only other box of a class.
    samples = make([0, 1, 0, 2], paths=["a", "a", "b", "b"])
    with pytest.raises(ValueError, match="no class has two photographs"):
        samples.split(0.5)
    rest, held_out = make([0, 1, 0, 1], paths=["a", "a", "b", "b"]).split(0.5)
    assert np.bincount(held_out.labels).tolist() == np.bincount(rest.labels).tolist() == [1, 1]


def test_split_depends_on_the_seed():
    samples = make([0] * 30)
    assert samples.split(0.5, seed=1)[1].paths == samples.split(0.5, seed=1)[1].paths
    assert samples.split(0.5, seed=1)[1].paths != samples.split(0.5, seed=2)[1].paths


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan")])
def test_split_refuses_a_fraction_that_leaves_nothing(fraction):
    with pytest.raises(
        ValueError, match="`fraction` must be a number above 0 and below 1.*fraction="
    ):
        make().split(fraction)


def test_split_of_single_images():
    with pytest.raises(ValueError, match="no class has two photographs"):
        make([0, 1, 2]).split(0.5)


@pytest.mark.parametrize("count", [1, 3, 7, 23, 99])
def test_limit_spreads_over_the_classes(count):
    few = make(np.repeat([0, 1, 2], [20, 1, 4])).limit(count)
    counts = np.bincount(few.labels, minlength=3)
    assert counts.sum() == len(set(few.paths)) == min(count, 25)
    assert list(few.paths) == sorted(few.paths, key=lambda path: int(path[:-4]))
    for have, available in zip(counts, (20, 1, 4), strict=True):
        assert have == available or have >= counts.max() - 1


def test_limit_depends_on_the_seed():
    samples = make([0] * 30)
    assert samples.limit(10).paths == samples.limit(10).paths != samples.limit(10, seed=1).paths
    with pytest.raises(ValueError, match="`count` must be an int of at least 1.*count=0"):
        samples.limit(0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"paths": [], "labels": []},
            "`paths` must be one str a sample, one or more. Received: no paths",
        ),
        ({"paths": ["0.jpg"]}, "`labels` must have one entry a sample.*6 labels for 1 paths"),
        ({"labels": [[0]] * 6}, r"`labels` must be one integer a sample.*shape=\(6, 1\)"),
        ({"labels": [0.0] * 6}, "`labels` must be one integer a sample.*dtype=float64"),
        ({"labels": [0, 0, 4, 0, 4, 0]}, "0..3 .4 class.*4 for '2.jpg' .2 such labels"),
        ({"labels": [0, -1, 0, 0, 0, 0]}, "`labels` must lie in 0..3 .*-1 for '1.jpg'"),
        ({"class_names": ["cat", "dog", "owl", "dog"]}, r"must differ.*twice: \['dog'\]"),
        ({"boxes": [[0, 0, 1]] * 6}, r"`boxes` must have shape.*shape=\(6, 3\)"),
        ({"boxes": [[0, 0, 1, 1]] * 5}, "5 boxes for 6 paths"),
        ({"boxes": [[0, 0, 1, 1]] * 5 + [[2, 0, 2, 1]]}, "right > left.*'5.jpg' .1 such"),
        ({"boxes": [[0, 3, 1, 1]] * 6}, "bottom > top.*'0.jpg' .6 such"),
        ({"boxes": [[0, np.nan, 1, 1]] * 6}, "bottom > top"),
        ({"encoded": [b""]}, "1 encoded for 6 paths"),
        ({"parts": [{}] * 7}, "7 parts for 6 paths"),
    ],
)
def test_contradictions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("paths", ["abc", None, [None], [3], b"abc", pathlib.Path("a")])
def test_what_are_no_paths(paths):
    with pytest.raises(ValueError, match="`paths` must be (a list|one str a sample)"):
        Samples(paths, [0], ["cat"])
    with pytest.raises(ValueError, match="`class_names` must be a list. Received: .*'cat'"):
        Samples(["a"], [0], "cat")


# As `keras.utils.image_dataset_from_directory` makes it.
KERAS_DATA = tf.data.Dataset.range(2)
KERAS_DATA.class_names = ["cat", "dog"]


@pytest.mark.parametrize("use", [pair_dataset, image_dataset, find_duplicates, random_splits])
@pytest.mark.parametrize("samples", ["photographs", ["a.jpg"], None, np.zeros((2, 4, 4, 3)), KERAS_DATA])
def test_what_are_no_samples(use, samples):
    given = (samples, samples) if use is find_duplicates else (samples,)
    with pytest.raises(ValueError, match="`samples` must be Samples, as a loader such as"):
        use(*given)


RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize(
    "mode, colour, format, expected",
    [
        ("RGB", RED, "PNG", RED),
        ("CMYK", (0, 255, 255, 0), "TIFF", RED),
        ("CMYK", (0, 0, 0, 0), "JPEG", WHITE),
        ("L", 77, "JPEG", (77, 77, 77)),
        ("1", 1, "PNG", WHITE),
        ("LA", (77, 255), "PNG", (77, 77, 77)),
        ("RGBA", (255, 0, 0, 255), "PNG", RED),
    ],
)
def test_every_colour_mode_becomes_rgb(mode, colour, format, expected):
    encoded = encode(Image.new(mode, (5, 4), colour), format)
    image = Samples(["image"], [0], ["class"], encoded=[encoded]).read(0)
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert image.getpixel((2, 2)) == expected


@pytest.mark.parametrize("transparency, expected", [({}, RED), ({"transparency": 0}, WHITE)])
def test_a_palette_becomes_rgb_on_white(transparency, expected):
    image = Image.new("RGB", (5, 4), RED).quantize(2)
    encoded = encode(image, "PNG", **transparency)
    image = Samples(["image"], [0], ["class"], encoded=[encoded]).read(0)
    assert (image.mode, image.getpixel((2, 2))) == ("RGB", expected)


def test_a_rotated_photograph_is_upright(tmp_path):
    sky_above = np.zeros((40, 20, 3), "uint8")
    sky_above[:20] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the orientation: turn clockwise to see it upright
    turned = np.rot90(sky_above)
    (tmp_path / "turned.jpg").write_bytes(encode(turned, "JPEG", exif=exif))
    image = Samples([tmp_path / "turned.jpg"], [0], ["class"]).read(0)
    assert image.size == (20, 40)
    np.testing.assert_allclose(np.asarray(image, float), sky_above, atol=5)


WHOLE = encode(np.random.default_rng(0).integers(0, 256, (16, 16, 3)), "PNG")


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no image", WHOLE[: len(WHOLE) // 2], WHOLE[:8] + b"\0\0\0\5" + WHOLE[12:]],
    ids=["missing", "empty", "text", "truncated", "broken header"],
)
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="Cannot decode .*broken.png' .*Replace the file"):
        Samples([path], [0], ["class"]).read(0)


# === filter, join, crop ===


def test_filter_keeps_and_numbers_some_classes():
    samples = make((3, 0, 1, 3, 2, 1))
    few = samples.filter(["yak", 1])
    assert few.class_names == ("dog", "yak")
    assert few.paths == ("0.jpg", "2.jpg", "3.jpg", "5.jpg")
    assert [few.class_names[k] for k in few.labels] == ["yak", "dog", "yak", "dog"]
    assert few.boxes[:, 0].tolist() == [0, 2, 3, 5]
    assert few.encoded == (b"\0", b"\2", b"\3", b"\5")
    assert few.parts[1] == {"head": (2, 2, 9, 9)}
    # In whatever order they are asked for, and with a class that has no sample here.
    other = samples.subset([2]).filter({np.int64(1), "yak"})
    assert (other.class_names, other.labels.tolist()) == (("dog", "yak"), [0])


def test_filter_without_new_numbers():
    few = make((3, 0, 1, 3)).filter([3, "dog"], renumber=False)
    assert few.class_names == ("cat", "dog", "owl", "yak")
    assert few.labels.tolist() == [3, 1, 3]


@pytest.mark.parametrize(
    "classes, message",
    [
        (["cat", "dgo"], "No class of these 4 is called 'dgo'. Near it: 'dog'"),
        (["zebra"], "No class of these 4 is called 'zebra'. See `class_names`"),
        ([4], r"Labels lie in 0..3 here. Received: label 4"),
        ([-1], "Received: label -1"),
        (["cat", 0], r"must differ. Received twice: \['cat'\]"),
        (["yak"], r"No sample is of the classes .*\['yak'\]"),
        ([], "No sample is of the classes"),
        ("cat", r"must be a list.*for one, \['cat'\]"),
    ],
)
def test_filter_refuses(classes, message):
    with pytest.raises(ValueError, match=message):
        make().filter(classes)


def test_join_matches_classes_by_name():
    first = make((0, 1), class_names=["cat", "dog"])
    second = make((0, 1, 2), class_names=["yak", "dog", "owl"], paths=["x", "y", "z"])
    joined = first.join(second, first)
    assert joined.class_names == ("cat", "dog", "yak", "owl")
    assert joined.labels.tolist() == [0, 1, 2, 1, 3, 0, 1]
    assert joined.paths == ("0.jpg", "1.jpg", "x", "y", "z", "0.jpg", "1.jpg")
    assert joined.boxes[:, 0].tolist() == [0, 1, 0, 1, 2, 0, 1]
    assert joined.encoded[4] == b"\2"
    assert joined.parts[4] == {"head": (2, 2, 9, 9)}
    assert first.join().labels.tolist() == [0, 1]


def test_join_keeps_what_only_some_have():
    image = np.arange(10 * 8 * 3).reshape(10, 8, 3)
    plain = Samples(["a"], [0], ["cat"], encoded=[encode(image)])
    cut = Samples(["b"], [0], ["cat"], encoded=[encode(image)], bottom_strips=[4])
    cropped = Samples(["c"], [0], ["cat"], encoded=[encode(image)], crops=[[1, 2, 5, 5]])
    joined = plain.join(cut, cropped)
    assert [joined.read(i).size for i in range(3)] == [(8, 10), (8, 6), (4, 3)]
    assert joined.boxes is joined.parts is None


def test_join_refuses_to_lose_or_invent():
    with pytest.raises(ValueError, match="with `boxes` and samples without .*boxes=None"):
        make().join(make(boxes=None))
    with pytest.raises(ValueError, match="with `encoded` and samples without"):
        make(encoded=None).join(make())
    with pytest.raises(ValueError, match="`samples` must be Samples.*Received: 'cat' of type str"):
        make().join("cat")


def test_crop_to_boxes():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
    samples = Samples(
        ["a", "b", "c"],
        [0, 0, 0],
        ["cat"],
        boxes=[[3, 4, 13, 9], [2.5, 0.2, 9.1, 8.8], [20, 10, 40, 30]],
        encoded=[encode(pixels)] * 3,
        parts=[{"eye": (5, 5, 7, 7), "tail": (12, 8, 20, 20), "far": (13, 0, 20, 4)}, {}, {}],
    )
    cropped = samples.crop_to_boxes()
    for index, (left, top, right, bottom) in enumerate(
        [(3, 4, 13, 9), (2, 0, 10, 9), (20, 10, 30, 20)]
    ):
        np.testing.assert_array_equal(cropped.read(index), pixels[top:bottom, left:right])
    np.testing.assert_allclose(
        cropped.boxes, [[0, 0, 10, 5], [0.5, 0.2, 7.1, 8.8], [0, 0, 20, 20]], atol=1e-6
    )
    assert cropped.parts[0] == {"eye": (2, 1, 4, 3), "tail": (9, 4, 10, 5)}
    assert cropped.subset([1, 0]).read(1).size == (10, 5)
    assert samples.crops is None


def test_crop_with_a_margin_and_again():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")
    samples = Samples(
        ["a"], [0], ["cat"], boxes=[[20, 10, 30, 30]], encoded=[encode(pixels)], bottom_strips=[5]
    )
    wide = samples.crop_to_boxes(margin=0.5)
    np.testing.assert_array_equal(wide.read(0), pixels[0:35, 15:35])
    np.testing.assert_array_equal(wide.boxes, [[5, 10, 15, 30]])
    again = wide.crop_to_boxes()
    np.testing.assert_array_equal(again.read(0), pixels[10:30, 20:30])
    # Never beyond the crop before.
    np.testing.assert_array_equal(again.crop_to_boxes(margin=3).crops, again.crops)


def test_crop_refuses():
    with pytest.raises(ValueError, match="no boxes to crop to"):
        make(boxes=None).crop_to_boxes()
    for margin in (-0.1, float("nan"), "wide"):
        with pytest.raises(ValueError, match="`margin` must be a number of at least 0"):
            make().crop_to_boxes(margin)
    outside = Samples(["a"], [0], ["c"], boxes=[[9, 9, 12, 12]], encoded=[WHOLE]).crop_to_boxes()
    assert outside.read(0).size == (3, 3)
    outside = Samples(["a"], [0], ["c"], boxes=[[16, 9, 20, 12]], encoded=[WHOLE]).crop_to_boxes()
    with pytest.raises(ValueError, match="'a' .its crop .* lies outside its 16×16"):
        outside.read(0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"crops": [[0, 0, 1]] * 6}, r"`crops` must have shape.*shape=\(6, 3\)"),
        ({"crops": [[0, 0, 0, 1]] * 6}, "`crops` must have right > left"),
        ({"bottom_strips": [1] * 5}, "5 bottom_strips for 6 paths"),
        ({"bottom_strips": [1, 2, 3, 4, 5, -1]}, "one integer of at least 0"),
        ({"bottom_strips": [1.5] * 6}, "one integer of at least 0"),
    ],
)
def test_wrong_crops_and_strips(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_one_class_and_one_image_in_words():
    assert repr(Samples(["a"], [0], ["cat"])) == "Samples(1 class, 1 image, 1–1 a class)"


def test_the_limit_of_pixels_stays_with_the_samples():
    limited = make([0, 1, 0, 1], encoded=[WHOLE] * 4, max_pixels=255)
    assert {part.max_pixels for part in (limited.subset([1]), *limited.split(0.5))} == {255}
    with pytest.raises(ValueError, match="'0.jpg' .16×16 pixels are more than max_pixels=255"):
        limited.read(0)
    assert limited.read(0, max_pixels=256).size == (16, 16)
    data = image_dataset(limited, 8, on_error="skip")
    with pytest.raises(Exception, match="None of the 4 images can be decoded"):
        list(data)
    assert len(data.skipped) == 4
    assert len(list(image_dataset(limited, 8, max_pixels=256))) == 1
    assert limited.join(make()).max_pixels == make().max_pixels
    with pytest.raises(ValueError, match="`max_pixels` must be an int of at least 1"):
        make(max_pixels=0)


# === What tells one list from another ===


def test_a_fingerprint_tells_lists_apart_wherever_they_lie():
    samples = drawn_cars(images_per_class=2, image_size=32)
    assert fingerprint(samples) == fingerprint(drawn_cars(images_per_class=2, image_size=48))
    others = [samples.subset(range(23)), samples.subset([1, 0, *range(2, 24)])]
    assert len({fingerprint(samples), *map(fingerprint, others)}) == 3
