"""How fast pairs are drawn and photographs are read, on ones that are made up at random, too."""

import functools
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from cin_keras.data import PairSampler, Samples, image_dataset, pair_dataset
from cin_keras.data.cropping import resized_size
from cin_keras.data.pipeline import EpochCounter, places_in_order, untuned
from cin_keras.measuring.memory import bytes_of_python
from cin_keras.measuring.rounds import seconds

BARE = "bare loop: decode and resize"


def random_labels(images, classes, long_tail=False, seed=0):
    """A class for every image, of each class at least one image, in random order.

    Args:
        images: Int, how many; fewer than classes leave the last classes out.
        classes: Int ≥ 1.
        long_tail: Bool, whether the size of a class falls as one over its rank, or all are
            equally large. Defaults to `False`.
        seed: Int, of the order. Defaults to 0.

    Returns:
        int32 of shape `(images,)`.

    Example:

    >>> np.bincount(random_labels(12, 3)).tolist()
    [4, 4, 4]
    >>> np.bincount(random_labels(12, 3, long_tail=True)).tolist()
    [6, 3, 3]
    """
    weights = 1 / np.arange(1, classes + 1) if long_tail else np.ones(classes)
    # One image of every class, and the others in proportion.
    others = np.arange(images - classes) + 0.5
    others = np.searchsorted(np.cumsum(weights) / weights.sum(), others / max(len(others), 1))
    labels = np.concatenate([np.arange(classes), others])[:images].astype("int32")
    return np.random.default_rng(seed).permutation(labels)


def random_photographs(folder, count, width, height, seed=0):
    """Writes JPEG files as large as photographs are: smooth colours under grain.

    Args:
        folder: Str or path, which exists.
        count: Int, how many.
        width: Int, in pixels.
        height: Int, in pixels.
        seed: Int. Defaults to 0.

    Returns:
        List of `pathlib.Path`.

    Example:

    >>> import tempfile
    >>> path = random_photographs(tempfile.mkdtemp(), 2, width=40, height=30)[1]
    >>> path.name, Image.open(path).size
    ('00001.jpg', (40, 30))
    """
    rng = np.random.default_rng(seed)
    paths = [pathlib.Path(folder) / f"{i:05}.jpg" for i in range(count)]
    for path in paths:
        coarse = rng.integers(0, 256, (12, 16, 3), "uint8")
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (height, width, 3))
        drawn = np.clip(np.asarray(smooth) + grain, 0, 255).astype("uint8")
        Image.fromarray(drawn).save(path, quality=90)
    return paths


def photographs(folder, data_dir, count, size, pairs_per_batch, seed=0):
    """Samples of two classes: photographs of one's own, or made-up ones.

    Args:
        folder: Str or path, which exists, where made-up ones are written.
        data_dir: Str or path, photographs `*.jpg` in it and below; `None` to make some up.
        count: Int ≥ 1, how many, at most.
        size: `(width, height)` of made-up ones, in pixels.
        pairs_per_batch: Int ≥ 1, for which there must be enough.
        seed: Int. Defaults to 0.

    Returns:
        `Samples`.

    Raises:
        ValueError: If they are too few for a batch.

    Example:

    >>> import tempfile
    >>> len(photographs(tempfile.mkdtemp(), None, 6, (40, 30), pairs_per_batch=3))
    6
    """
    if data_dir:
        paths = sorted(pathlib.Path(data_dir).rglob("*.jpg"))[:count]
    else:
        paths = random_photographs(folder, count, *size, seed)
    if len(paths) < 2 * pairs_per_batch:
        where = f"--data-dir {data_dir} with" if data_dir else "--files"
        raise ValueError(
            f"A batch takes {2 * pairs_per_batch} photographs, as --pairs-per-batch says. "
            f"Received: {where} {len(paths)} files *.jpg"
        )
    return Samples(paths, [i % 2 for i in range(len(paths))], ["even", "odd"])


def read_all(batches):
    """Goes through an iterable once, and keeps nothing."""
    for _ in batches:
        pass


def decode_and_resize(paths, image_size, threads):
    """What any pipeline does at least: a bare loop that decodes and resizes, and keeps nothing.

    Args:
        paths: Sequence of str or path, photographs.
        image_size: Int, pixels of a side.
        threads: Int ≥ 1.
    """

    def read(path):
        # Not `cin_keras.data.decode`: what that does beyond Pillow is part of what is measured.
        with Image.open(path) as image:
            size = (image_size, image_size)
            return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))

    with ThreadPoolExecutor(threads) as pool:
        read_all(pool.map(read, paths))


def with_tf_data(samples, image_size, batch_size, seed=0):
    """The pipeline of TensorFlow's own operations that does what `image_dataset` does.

    Args:
        samples: `Samples` of JPEG files.
        image_size: Int, pixels of a side.
        batch_size: Int ≥ 1.
        seed: Int, of order, crops and flips. Defaults to 0.

    Returns:
        `tf.data.Dataset` of uint8 images `(batch, image_size, image_size, 3)` and labels: decoded,
        resized to 8/7 of the size with antialiasing, cropped and flipped at random; of as many at a
        time as the others.
    """
    import tensorflow as tf

    sizes = resized_size(image_size, image_size)

    def load(path, label, seeds):
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        pixels = tf.image.resize(pixels, sizes, antialias=True)
        size = (image_size, image_size, 3)
        pixels = tf.image.stateless_random_crop(pixels, size, seeds)
        pixels = tf.image.stateless_random_flip_left_right(pixels, seeds)
        return tf.cast(tf.round(pixels), "uint8"), label

    count = len(samples)
    seeds = tf.data.Dataset.random(seed).batch(2, drop_remainder=True)
    files = tf.data.Dataset.from_tensor_slices((list(samples.paths), samples.labels))
    images = tf.data.Dataset.zip(files.shuffle(count, seed), seeds).map(
        lambda file, seeds: load(*file, seeds), num_parallel_calls=tf.data.AUTOTUNE
    )
    return images.batch(batch_size).prefetch(tf.data.AUTOTUNE).with_options(untuned())


def time_sampler(make, pairs_per_batch, epoch):
    """What it takes to build a sampler, to draw an epoch, and to pass it through `tf.data`.

    Args:
        make: Function without arguments that returns a `cin_keras.data.PairSampler`.
        pairs_per_batch: Int ≥ 1, of that sampler.
        epoch: Int, its number.

    Returns:
        Dict of three floats.

    Example:

    >>> labels = random_labels(40, 4)
    >>> list(time_sampler(lambda: cin_keras.data.PairSampler(labels, 4), 4, epoch=0))
    ['build, s', 'pairs/s', 'pairs/s through tf.data']
    """
    sampler = make()
    images = 2 * pairs_per_batch * len(sampler)
    epochs = EpochCounter(lambda n: sampler.epoch(n).reshape(-1), np.arange(images), epoch)
    places = places_in_order(epochs, 2 * pairs_per_batch).with_options(untuned())
    return {
        "build, s": seconds(make),
        "pairs/s": images / 2 / seconds(sampler.epoch, epoch),
        "pairs/s through tf.data": images / 2 / seconds(read_all, places),
    }


def usual_labels(images, classes, seed=0):
    """How images are spread over classes: evenly, or with a long tail, drawn by image or by class.

    Args:
        images: Int, how many.
        classes: Int ≥ 1.
        seed: Int. Defaults to 0.

    Returns:
        Dict from names to `(labels, sampling)`, as `random_labels` makes and `PairSampler` takes.

    Example:

    >>> list(usual_labels(12, 3))
    ['equal classes', 'long tail', 'long tail, by class']
    """
    even = random_labels(images, classes, False, seed)
    tailed = random_labels(images, classes, True, seed)
    return {
        "equal classes": (even, "image"),
        "long tail": (tailed, "image"),
        "long tail, by class": (tailed, "class"),
    }


def sampler_variants(labels, pairs_per_batch, classes_per_batch, seed=0):
    """What measures samplers of pairs, for `by_turns`.

    Args:
        labels: Dict as from `usual_labels`.
        pairs_per_batch: Int ≥ 1.
        classes_per_batch: Int ≥ 1; each is measured with all classes, and with so many a batch.
        seed: Int. Defaults to 0.

    Returns:
        Dict from names to functions of the round's number, which return what `time_sampler` does
        and the bytes that an image takes, while the sampler is there and at most.
    """
    variants = {}
    for name, (own, sampling) in labels.items():
        make = functools.partial(PairSampler, own, pairs_per_batch, seed=seed, sampling=sampling)
        variants[name] = _sampler_round(make, pairs_per_batch, len(own))
        few = functools.partial(make, classes_per_batch=classes_per_batch)
        variants[f"{name}, {classes_per_batch} a batch"] = _sampler_round(
            few, pairs_per_batch, len(own)
        )
    return variants


def _sampler_round(make, pairs_per_batch, images):
    held, peak = bytes_of_python(make, lambda sampler: sampler.epoch(0))
    memory = {"bytes/image, held": held / images, "at most": peak / images}
    return lambda number: time_sampler(make, pairs_per_batch, number) | memory


def bytes_a_path(images):
    """Float, the memory that `Samples` of so many images take for each path, as long as ImageNet's.

    Args:
        images: Int ≥ 1.

    Returns:
        Float.

    Example:

    >>> 60 < bytes_a_path(1000) < 200
    True
    """

    def make():
        paths = [f"train/class_{i % 10_000:05}/image_{i:08}.jpg" for i in range(images)]
        return Samples(paths, np.zeros(images, int), ["any"])

    return bytes_of_python(make)[0] / images


def reading_variants(samples, image_size, pairs_per_batch, threads, folder, seed=0):
    """What measures pipelines of images, for `by_turns`; the first is a bare loop.

    Args:
        samples: `Samples` of photographs on disk.
        image_size: Int, pixels of a side.
        pairs_per_batch: Int ≥ 1.
        threads: Int ≥ 1, of the bare loop.
        folder: Str or path, where a cache on disk may lie.
        seed: Int, of crops and order. Defaults to 0.

    Returns:
        Dict from names to functions of the round's number that read all images once and return
        three floats; the ratio is still to be taken by `against_the_bare_loop`.
    """
    batch, count = 2 * pairs_per_batch, len(samples)

    def variant(read, images=count):
        def run(number):
            start = time.process_time()
            speed = images / seconds(read)
            work = 1000 * (time.process_time() - start) / images
            return {"images/s": speed, "ratio to the bare loop": speed, "CPU, ms/image": work}

        return run

    def pipeline(make, images=count, **kwargs):
        dataset = make(samples, image_size, augment="crop", seed=seed, **kwargs)
        return variant(lambda: read_all(dataset), images)

    def in_pairs(cache=None):  # drops the last incomplete batch
        own = {"pairs_per_batch": pairs_per_batch, "cache": cache}
        return pipeline(pair_dataset, count - count % batch, **own)

    return {
        BARE: variant(lambda: decode_and_resize(samples.paths, image_size, threads)),
        "tf.data: decode_jpeg, antialiased": variant(
            functools.partial(read_all, with_tf_data(samples, image_size, batch, seed))
        ),
        "image_dataset": pipeline(image_dataset, batch_size=batch, shuffle=True),
        "pair_dataset": in_pairs(),
        "pair_dataset, cache in memory": in_pairs("memory"),
        "pair_dataset, cache on disk": in_pairs(pathlib.Path(folder) / "cache"),
    }


def against_the_bare_loop(found):
    """Divides every ratio by the bare loop's speed in the same round.

    Args:
        found: Dict, what `by_turns` returned of `reading_variants`; it is changed.

    Returns:
        `found`.
    """
    for rounds in found.values():
        for own, bare in zip(rounds, found[BARE]):
            own["ratio to the bare loop"] /= bare["images/s"]
    return found
