import itertools
import sys
import types

import numpy as np
import pytest

from cin_keras.data.loaders.drawn_cars import (
    _CARS,
    _draw,
    _random_scene,
    class_parts,
    differing_parts,
    drawn_cars,
)

PARTS = {"front wheel", "rear wheel", "lamp", "grille", "roof", "spoiler"}


def _scene(seed):
    return _random_scene(np.random.default_rng(seed))


def _pixels(samples):
    return np.stack([np.asarray(samples.read(i), "float32") for i in range(len(samples))])


def _inside(boxes, size, margin):
    """A mask of the pixels in any of the boxes, each grown by `margin` pixels."""
    mask = np.zeros((size, size), bool)
    for left, top, right, bottom in boxes:
        rows = slice(max(top - margin, 0), bottom + margin)
        mask[rows, max(left - margin, 0) : right + margin] = True
    return mask


def test_defaults():
    samples = drawn_cars("validation")
    assert (samples.num_classes, len(samples)) == (12, 12 * 20)
    image = samples.read(0)
    assert (image.size, image.mode) == ((96, 96), "RGB")
    assert samples.encoded[0].startswith(b"\x89PNG")
    assert samples.paths[3 * 20 + 7] == "drawn/validation/03/0007.png"
    np.testing.assert_array_equal(samples.labels, np.repeat(np.arange(12), 20))


@pytest.mark.parametrize("split, count", [("train", 120), ("validation", 20), ("test", 40)])
def test_default_images_per_class(split, count):
    assert len(drawn_cars(split, num_classes=2, image_size=32)) == 2 * count


def test_same_seed_gives_the_same_drawings():
    first = drawn_cars(num_classes=3, images_per_class=3, seed=5)
    sys.modules[drawn_cars.__module__]._drawing.cache_clear()  # it is tests.conftest that caches
    second = drawn_cars(num_classes=3, images_per_class=3, seed=5)
    assert first.encoded == second.encoded
    assert first.parts == second.parts
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_no_drawing_stands_twice_over_splits_and_seeds():
    encoded = [
        image
        for split, seed in itertools.product(("train", "validation", "test"), (0, 1))
        for image in drawn_cars(split, num_classes=3, images_per_class=4, seed=seed).encoded
    ]
    assert len(set(encoded)) == len(encoded) == 6 * 12


def test_more_images_and_more_classes_keep_the_drawings_there_are():
    few = drawn_cars(num_classes=2, images_per_class=2)
    many = drawn_cars(num_classes=4, images_per_class=5)
    assert few.encoded == tuple(many.encoded[i] for i in (0, 1, 5, 6))
    assert few.class_names == many.class_names[:2]


def test_every_class_is_its_own_and_its_name_tells_its_parts():
    samples = drawn_cars(num_classes=24, images_per_class=1, image_size=32)
    assert samples.num_classes == len(set(samples.class_names)) == len(set(_CARS)) == 24
    for label, name in enumerate(samples.class_names):
        kinds = class_parts(label)
        assert set(kinds) == set(samples.parts[label]) == PARTS
        for part, kind in kinds.items():
            assert f"{kind} {'wheels' if 'wheel' in part else part}" in name


def test_many_pairs_differ_in_one_or_two_parts_only():
    def count(a, b):
        return len({part.replace("front", "rear") for part in differing_parts(a, b)})

    counts = [count(a, b) for a, b in itertools.combinations(range(12), 2)]
    assert min(counts) == 1
    assert sum(c <= 2 for c in counts) >= len(counts) / 4
    assert all(count(label, label + 1) == 1 for label in range(23))


def test_differing_parts():
    assert differing_parts(4, 4) == ()
    assert differing_parts(0, 1) == ("lamp",)
    assert differing_parts(1, 2) == ("front wheel", "rear wheel")
    assert differing_parts(0, 3) == differing_parts(3, 0)


@pytest.mark.parametrize("image_size", [32, 64, 96, 160])
def test_boxes(image_size):
    samples = drawn_cars(num_classes=12, images_per_class=6, image_size=image_size, seed=2)
    slack = 2 + image_size / 40
    for (left, top, right, bottom), parts in zip(samples.boxes, samples.parts, strict=True):
        assert 0 <= left < right <= image_size and 0 <= top < bottom <= image_size
        assert 0.75 * image_size < right - left
        assert set(parts) == PARTS
        for box in parts.values():
            assert 0 <= box[0] < box[2] <= image_size and 0 <= box[1] < box[3] <= image_size
            assert left - slack <= box[0] and box[2] <= right + slack
            assert top - slack <= box[1] and box[3] <= bottom + slack
            if image_size == 96:
                assert min(box[2] - box[0], box[3] - box[1]) >= 8


def test_the_box_holds_the_car_and_no_more():
    for seed in range(20):
        scene = _scene(seed)
        car = _CARS[seed % 24]
        _, box, _ = _draw(scene, car, 96)
        other = {"paint": (255, 0, 255), "trim": (0, 255, 0), "metal": (9, 9, 9)}
        repainted = types.SimpleNamespace(**{**vars(scene), **other})
        changed = np.asarray(_draw(scene, car, 96)[0]) != np.asarray(_draw(repainted, car, 96)[0])
        changed = changed.any(-1)
        assert not changed[~_inside([box], 96, 3)].any()
        columns = np.flatnonzero(changed.any(0))
        assert abs(columns[0] - box[0]) <= 3 and abs(columns[-1] + 1 - box[2]) <= 3


def test_cars_face_either_way():
    samples = drawn_cars(num_classes=4, images_per_class=10, image_size=32)
    right = sum(parts["lamp"][0] > parts["spoiler"][2] for parts in samples.parts)
    left = sum(parts["lamp"][2] < parts["spoiler"][0] for parts in samples.parts)
    assert right + left == 40 and min(right, left) >= 8


@pytest.mark.parametrize("image_size", [64, 96])
def test_cars_in_one_scene_differ_exactly_where_the_boxes_say(image_size):
    facings = set()
    for label in range(23):
        scene = _scene(100 + label)
        facings.add(scene.facing)
        image_a, _, parts = _draw(scene, _CARS[label], image_size)
        image_b, _, parts_b = _draw(scene, _CARS[label + 1], image_size)
        assert parts == parts_b
        boxes = [parts[name] for name in differing_parts(label, label + 1)]
        difference = np.abs(np.asarray(image_a, int) - np.asarray(image_b, int)).max(-1)
        # The Lanczos filter reaches three pixels far.
        assert not difference[~_inside(boxes, image_size, 3)].any()
        for box in boxes:
            inside = difference[_inside([box], image_size, 0)]
            assert (inside > 20).mean() > 0.05
    assert facings == {-1, 1}


@pytest.mark.parametrize("features", ["mean", "histogram"])
def test_colour_tells_nothing(features):
    def describe(samples):
        pixels = _pixels(samples)
        if features == "mean":
            return pixels.mean((1, 2))
        codes = (pixels // 64).astype(int) @ (16, 4, 1)
        return np.stack([np.bincount(c.ravel(), minlength=64) for c in codes]) / codes[0].size

    train = drawn_cars("train", images_per_class=30, image_size=48)
    test = drawn_cars("test", images_per_class=20, image_size=48)
    known, asked = describe(train), describe(test)
    means = np.stack([known[train.labels == label].mean(0) for label in range(12)])
    distances = np.square(asked[:, None] - means).sum(-1)
    assert (distances.argmin(1) == test.labels).mean() < 2.5 / 12


def test_the_drawings_vary_within_a_class():
    samples = drawn_cars(num_classes=2, images_per_class=30)
    assert _pixels(samples)[:30].mean((1, 2)).std(0).min() > 10
    assert samples.boxes[:30].std(0).min() > 1
    scenes = [_scene(seed) for seed in range(60)]
    paints = np.array([scene.paint for scene in scenes], float)
    # Hue: which of red, green and blue is strongest differs from scene to scene.
    assert np.bincount(paints.argmax(1), minlength=3).min() >= 8
    assert len({len(scene.clutter) for scene in scenes}) >= 8
    assert np.std([scene.brightness for scene in scenes]) > 0.05
    assert np.std([scene.unit for scene in scenes]) * 100 > 0.02


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"split": "valid"}, r"'train', 'validation' or 'test'.*'valid'"),
        ({"num_classes": 25}, "from 2 to 24.*num_classes=25"),
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": 3.0}, "num_classes=3.0"),
        ({"images_per_class": 0}, "at least 1.*images_per_class=0"),
        ({"images_per_class": True}, "images_per_class=True"),
        ({"image_size": 31}, "at least 32.*image_size=31"),
        ({"image_size": (96, 96)}, "image_size="),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn_cars(**arguments)


def test_no_such_class():
    with pytest.raises(ValueError, match="from 0 to 23.*label=24"):
        class_parts(24)
    with pytest.raises(ValueError, match="label=-1"):
        differing_parts(0, -1)
