import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cin_keras.data import Samples, SetEpoch, image_dataset, mixed, pair_dataset
from cin_keras.data.cropping import crop
from cin_keras.data.rand_augment import rand_augment
from cin_keras.threads import available_cores
from tests.data.small_sets import coloured_samples, encode, from_arrays


def gradient(width, height):
    """Red tells the column and green the row, both from 0 to 250, as shares of the size."""
    columns = (np.arange(width) + 0.5) / width * 250
    rows = (np.arange(height) + 0.5) / height * 250
    image = np.zeros((height, width, 3))
    image[..., 0] = columns
    image[..., 1] = rows[:, None]
    return image.round()


def crops_of(image, count, size=21, **kwargs):
    """`count` crops of one image."""
    samples = from_arrays(image).subset([0] * count)
    (images, _), *_ = image_dataset(samples, size, count, **kwargs)
    return np.asarray(images, float)


def batches(dataset):
    return [(np.asarray(images), np.asarray(labels)) for images, labels in dataset]


# === Crops ===


@pytest.mark.parametrize("image_size", [28, (14, 35)])
@pytest.mark.parametrize("width, height", [(96, 96), (250, 64), (64, 250), (20, 16)])
def test_centre_crop(width, height, image_size):
    rows, columns = (image_size, image_size) if image_size == 28 else image_size
    (centre,) = crops_of(gradient(width, height), 1, image_size)
    assert centre.shape == (rows, columns, 3)
    for x in range(1, columns - 1):
        # The resized image is 8/7 as wide as the crop, whose edge is 1/14 of its width inside.
        expected = ((x + 0.5) + columns / 14) / (columns * 8 / 7) * 250
        np.testing.assert_allclose(centre[:, x, 0], expected, atol=1.3)
    for y in range(1, rows - 1):
        expected = ((y + 0.5) + rows / 14) / (rows * 8 / 7) * 250
        np.testing.assert_allclose(centre[y, :, 1], expected, atol=1.3)


def test_random_crops_lie_anywhere_inside_and_half_are_flipped():
    size, count = 21, 200
    crops = crops_of(gradient(150, 100), count, size, augment="crop")
    across, down = crops[:, size // 2, :, 0], crops[:, :, size // 2, 1]
    flipped = across[:, 0] > across[:, -1]
    assert 0.35 < flipped.mean() < 0.65
    across[flipped] = across[flipped, ::-1]
    offsets = []
    for values in (across, down):
        # The distance between neighbours is that of the centre crop: none is stretched.
        np.testing.assert_allclose(np.diff(values[:, 1:-1]), 250 / (size * 8 / 7), atol=2.1)
        offset = values[:, size // 2] - 125
        assert np.abs(offset).max() <= 250 / 16 + 1.3
        assert offset.min() < -12 and offset.max() > 12
        assert abs(offset.mean()) < 3
        offsets.append(offset)
    assert abs(np.corrcoef(*offsets)[0, 1]) < 0.3


def test_crops_depend_on_seed_and_epoch():
    image = gradient(80, 80)
    choices = [{}, {"seed": 1}, {"start_epoch": 1}]
    crops = [crops_of(image, 20, augment="crop", **choice) for choice in choices]
    np.testing.assert_array_equal(crops[0], crops_of(image, 20, augment="crop"))
    for a, b in itertools.combinations(crops, 2):
        assert (a != b).any((1, 2, 3)).mean() > 0.9


class FixedNumbers:
    """Stands for a random generator: the offsets of the crop, then the number for the flip."""

    def __init__(self, flip):
        self.numbers = [np.array([0.2, 0.9]), flip]

    def random(self, size=None):
        return self.numbers.pop(0)


def test_a_flip_is_the_mirror_image():
    noise = np.random.default_rng(1).integers(0, 256, (40, 50, 3), "uint8")
    flipped, plain = (crop(Image.fromarray(noise), 9, 12, FixedNumbers(x)) for x in (0.1, 0.9))
    assert not np.array_equal(flipped, plain)
    np.testing.assert_array_equal(flipped, plain[:, ::-1])


# === Order ===


def test_evaluation_sees_every_image_once_in_order():
    dataset = image_dataset(coloured_samples([0, 1, 2, 0, 1]), (8, 12), 2)
    assert len(dataset) == 3
    images, labels = zip(*batches(dataset), strict=True)
    assert [x.shape for x in images] == [(2, 8, 12, 3), (2, 8, 12, 3), (1, 8, 12, 3)]
    assert {x.dtype.name for x in images} == {"uint8"}
    assert {y.dtype.name for y in labels} == {"int32"}
    colours = np.concatenate(images).reshape(5, -1, 3)
    expected = [[label, i, 99] for i, label in enumerate([0, 1, 2, 0, 1])]
    np.testing.assert_array_equal(colours, np.broadcast_to(np.array(expected)[:, None], (5, 96, 3)))
    assert np.concatenate(labels).tolist() == [0, 1, 2, 0, 1]


def shuffled(augment="crop", **kwargs):
    """12 images in batches of 5, each with its number above a gradient."""
    images = [np.concatenate([np.full((6, 16, 3), i), gradient(16, 10)]) for i in range(12)]
    return image_dataset(from_arrays(*images), 14, 5, shuffle=True, augment=augment, **kwargs)


def contents(dataset):
    """Images and labels of one pass."""
    images, labels = zip(*batches(dataset), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_a_shuffled_pass_depends_on_seed_and_epoch_alone():
    dataset = shuffled()
    passes = [contents(dataset) for _ in range(3)]
    others = [contents(shuffled(seed=1)), contents(shuffled(start_epoch=3))]
    for _, labels in passes + others:
        assert sorted(labels) == list(range(12))
    assert len({tuple(labels) for _, labels in passes + others}) == 5

    next(iter(dataset))
    SetEpoch(dataset).on_epoch_begin(1)
    for again in (contents(dataset), contents(shuffled(start_epoch=1))):
        for expected, received in zip(passes[1], again, strict=True):
            np.testing.assert_array_equal(received, expected)


# === Shards ===


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_shards_of_an_evaluation_see_every_image_once(shards):
    samples = coloured_samples([0, 1, 2, 0, 1, 1, 0])
    parts = [image_dataset(samples, 8, 2, shard=(i, shards)) for i in range(shards)]
    seen = []
    for part in parts:
        images, labels = contents(part)
        assert len(part) == len(list(part)) == -(-len(labels) // 2)
        assert len(labels) in (7 // shards, 7 // shards + 1)
        seen += zip(images[:, 0, 0, 1].tolist(), labels.tolist(), strict=True)
    assert sorted(seen) == list(enumerate([0, 1, 2, 0, 1, 1, 0]))


def test_shards_of_training_are_equally_long_and_part_of_the_epoch():
    images, labels = contents(shuffled(start_epoch=2))
    for shards in (2, 5):
        for i in range(shards):
            part, part_labels = contents(shuffled(start_epoch=2, shard=(i, shards)))
            chosen = np.arange(i, 12, shards)[: 12 // shards]
            np.testing.assert_array_equal(part, images[chosen])
            np.testing.assert_array_equal(part_labels, labels[chosen])


# === How many at a time ===


def test_as_many_as_there_are_cores_and_nobody_looks_for_a_better_number():
    """Who deleted an iterator would wait, at times, for the thread that looks: `pipeline.untuned`."""
    samples = coloured_samples([0, 0, 1, 1])
    pairs = pair_dataset(samples, 14, pairs_per_batch=2)
    for data in (image_dataset(samples, 14, 2), pairs, mixed(pairs, "mixup", 2)):
        how = data.options().autotune
        assert (how.enabled, how.initial_parallelism) == (False, available_cores())


# === RandAugment ===


@pytest.fixture(scope="module")
def augmented():
    """A data set by RandAugment, which takes long to trace, and its first pass."""
    dataset = shuffled(augment="randaugment")
    return dataset, batches(dataset)


@pytest.mark.every_backend(on_jax=False)
def test_randaugment_changes_pixels_and_nothing_else(augmented):
    (images, labels), *rest = augmented[1]
    (plain, plain_labels), *_ = batches(shuffled())
    assert (images.shape, images.dtype, len(rest)) == ((5, 14, 14, 3), "uint8", 2)
    np.testing.assert_array_equal(labels, plain_labels)
    assert (images != plain).any((1, 2, 3)).mean() >= 0.6


def test_randaugment_is_a_function_of_epoch_and_position(augmented):
    dataset, first = augmented
    epochs = [np.concatenate([images for images, _ in first]), contents(dataset)[0]]
    part = shuffled(augment="randaugment", start_epoch=1, shard=(1, 3))
    np.testing.assert_array_equal(contents(part)[0], epochs[1][1::3])
    assert (epochs[1] != epochs[0]).any()


def test_randaugment_is_the_same_under_mixed_precision(augmented):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        again = batches(shuffled(augment="randaugment"))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(again[0][0], augmented[1][0][0])


def test_every_image_and_seed_is_augmented_in_its_own_way():
    samples = coloured_samples([0] * 64)
    # Sorted: in which order they come depends on the seed, too.
    first, second = (
        np.unique(contents(image_dataset(samples, 14, 64, augment="randaugment", seed=seed))[0], axis=0)
        for seed in (1, 2)
    )
    assert len(first) > 20 and not np.array_equal(first, second)


def test_a_batch_of_no_image_keeps_its_shape():
    augment = rand_augment(seed=0)
    images, places = np.zeros((0, 8, 6, 3), "uint8"), np.zeros((0, 3), "int64")
    assert augment(tf.constant(images), tf.constant(places)).shape == (0, 8, 6, 3)
    batches = tf.data.Dataset.from_tensors((images, places)).map(augment)
    assert next(iter(batches)).shape == (0, 8, 6, 3)


# === Errors ===


@pytest.mark.parametrize("augment", [None, "crop"])
def test_a_broken_image_is_named_while_iterating(tmp_path, augment):
    paths = [tmp_path / name for name in ("whole.png", "broken.png")]
    paths[0].write_bytes(encode(gradient(8, 8)))
    paths[1].write_bytes(encode(gradient(8, 8))[:60])
    dataset = iter(image_dataset(Samples(paths, [0, 0], ["class"]), 8, 1, augment=augment))
    next(dataset)
    with pytest.raises(Exception, match="Cannot decode .*broken.png"):
        next(dataset)


@pytest.mark.parametrize(
    "arguments, message",
    [
        *(
            ({"image_size": size}, "`image_size` must be a positive int or .height, width")
            for size in (0, -8, 8.0, (8,), (8, 0), (8, 8, 3), (8, 8.5), None, "8")
        ),
        ({"batch_size": 0}, "`batch_size` must be an int of at least 1.*batch_size=0"),
        ({"batch_size": None}, "`batch_size` must be an int of at least 1.*batch_size=None"),
        ({"shard": (3, 3)}, r"`shard` must be None or .index, count.*shard=\(3, 3\)"),
        ({"shard": (0, 2)}, "2 shards need at least one image each.*1 images"),
        ({"cache": ""}, "`cache` must be None, 'memory' or the path of a folder.*cache=''"),
        ({"augment": "cutmix"}, "`augment` must be None, 'crop' or 'randaugment'.*'cutmix'"),
        ({"seed": -1}, "`seed` must be an int of at least 0.*seed=-1"),
        ({"start_epoch": 0.5}, "`start_epoch` must be an int of at least 0.*start_epoch=0.5"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        image_dataset(coloured_samples([0]), **arguments)
