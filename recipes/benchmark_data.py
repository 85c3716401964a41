"""Times how pairs are drawn from a very large data set, and how images are read.

python recipes/benchmark_data.py                                two million images, drawn JPEGs
python recipes/benchmark_data.py --data-dir DIR --image-size 448    your own photographs
"""

import functools
import pathlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.data import PairSampler, Samples, image_dataset, pair_dataset
from cin_keras.data.pipeline import EpochCounter, places_in_order
from cin_keras.files import check_writable, write_json
from cin_keras.measuring.synthetic import random_labels, random_photographs
from cin_keras.training import mistakes_in_one_sentence

BARE = "bare loop: decode and resize"


def parse_arguments(arguments=None):
    parser, add = measuring.measuring_parser(
        "python recipes/benchmark_data.py",
        "Measures the pair sampler on many images, and how fast images are read.",
        "runs/benchmark_data",
    )
    number = positive(int)
    add("--images", "N", "in the sampler's index (%(default)s)", type=number, default=2_000_000)
    add("--classes", "N", "in the sampler's index (%(default)s)", type=number, default=10_000)
    add("--pairs-per-batch", "N", "(%(default)s)", type=number, default=10)
    add("--classes-per-batch", "N", "where few are (%(default)s)", type=number, default=4)
    add("--data-dir", "DIR", "photographs to read, *.jpg in it and below (drawn ones)")
    add("--files", "N", "photographs, at most (%(default)s)", type=number, default=256)
    add("--width", "N", "of drawn ones, pixels (%(default)s)", type=number, default=500)
    add("--height", "N", "of drawn ones, pixels (%(default)s)", type=number, default=375)
    add("--image-size", "N", "of the network, pixels (%(default)s)", type=number, default=224)
    add("--threads", "N", "of the bare loop (the cores)", type=number)
    add("--rounds", "N", "every variant once in each (%(default)s)", type=number, default=7)
    add("--seed", "N", "of labels, photographs, order (%(default)s)", type=int, default=0)
    args = parser.parse_args(arguments)
    args.threads = args.threads or measuring.available_cores()
    return args


def sampler_variants(args):
    """`{name: function that makes the sampler}`."""
    variants, few = {}, args.classes_per_batch
    for name, long_tail, sampling in (
        ("equal classes", False, "image"),
        ("long tail", True, "image"),
        ("long tail, by class", True, "class"),
    ):
        labels = random_labels(args.images, args.classes, long_tail, args.seed)
        make = functools.partial(
            PairSampler, labels, args.pairs_per_batch, seed=args.seed, sampling=sampling
        )
        variants[name] = make
        variants[f"{name}, {few} a batch"] = functools.partial(make, classes_per_batch=few)
    return variants


def time_sampler(make, memory, args, number):
    """One round of a sampler: building, drawing an epoch, and a pass of tf.data over it."""
    sampler = make()
    images = 2 * args.pairs_per_batch * len(sampler)
    epochs = EpochCounter(lambda n: sampler.epoch(n).reshape(-1), np.arange(images), number)
    places = places_in_order(epochs, 2 * args.pairs_per_batch)
    held, peak = memory
    return {
        "build, s": measuring.seconds(make),
        "pairs/s": images / 2 / measuring.seconds(sampler.epoch, number),
        "pairs/s through tf.data": images / 2 / measuring.seconds(read_all, places),
        "bytes/image, held": held / args.images,
        "at most": peak / args.images,
    }


def read_all(dataset):
    for _ in dataset:
        pass


def long_list(images):
    """Samples of so many images, paths as long as ImageNet's."""
    paths = [f"train/class_{i % 10_000:05}/image_{i:08}.jpg" for i in range(images)]
    return Samples(paths, np.zeros(images, int), ["any"])


def photographs(args, folder):
    """Samples of the user's photographs, or of made-up ones."""
    if args.data_dir:
        paths = sorted(pathlib.Path(args.data_dir).rglob("*.jpg"))[: args.files]
    else:
        paths = random_photographs(folder, args.files, args.width, args.height, args.seed)
    if len(paths) < 2 * args.pairs_per_batch:
        where = f"--data-dir {args.data_dir} with" if args.data_dir else "--files"
        raise ValueError(
            f"A batch takes {2 * args.pairs_per_batch} photographs, as --pairs-per-batch says. "
            f"Received: {where} {len(paths)} files *.jpg"
        )
    return Samples(paths, np.arange(len(paths)) % 2, ["even", "odd"])


def feeding_variants(samples, args, folder):
    """`{name: (function that reads all images once, how many these are)}`."""
    size, pairs, count = args.image_size, args.pairs_per_batch, len(samples)

    def decode_and_resize(path):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.BILINEAR))

    def bare():
        with ThreadPoolExecutor(args.threads) as pool:
            read_all(pool.map(decode_and_resize, samples.paths))

    def pipeline(make, **kwargs):
        dataset = make(samples, size, augment="crop", seed=args.seed, **kwargs)
        return functools.partial(read_all, dataset)

    def in_pairs(cache=None):  # drops the last incomplete batch
        dataset = pipeline(pair_dataset, pairs_per_batch=pairs, cache=cache)
        return dataset, count - count % (2 * pairs)

    return {
        BARE: (bare, count),
        "image_dataset": (pipeline(image_dataset, batch_size=2 * pairs, shuffle=True), count),
        "pair_dataset": in_pairs(),
        "pair_dataset, cache in memory": in_pairs("memory"),
        "pair_dataset, cache on disk": in_pairs(pathlib.Path(folder) / "cache"),
    }


def time_feeding(run, images, number):
    """One round of a way to read; its ratio to the bare loop is still to be divided."""
    start = time.process_time()
    speed = images / measuring.seconds(run)
    work = 1000 * (time.process_time() - start) / images
    return {"images/s": speed, "ratio to the bare loop": speed, "CPU, ms/image": work}


def against_the_bare_loop(found):
    """Divides every ratio by the bare loop's speed in the same round."""
    for rounds in found.values():
        for own, bare in zip(rounds, found[BARE]):
            own["ratio to the bare loop"] /= bare["images/s"]


def main(arguments=None):
    args = parse_arguments(arguments)
    output, machine = pathlib.Path(args.output), measuring.describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        with mistakes_in_one_sentence():
            check_writable(output)
            samplers = sampler_variants(args)
            memory = {
                name: measuring.bytes_of_python(make, lambda sampler: sampler.epoch(0))
                for name, make in samplers.items()
            }
            samples = photographs(args, folder)
            feeding = feeding_variants(samples, args, folder)
        results = {"settings": vars(args), **machine}

        print(f"\n{args.images} images in {args.classes} classes, {machine['device']}")
        turns = {
            name: functools.partial(time_sampler, make, memory[name], args)
            for name, make in samplers.items()
        }
        results["sampler"] = measuring.summarize(measuring.by_turns(turns, args.rounds))
        print(measuring.summary_table(results["sampler"]))
        held, _ = measuring.bytes_of_python(lambda: long_list(args.images))
        results["bytes_a_path"] = held / args.images
        print(f"`Samples` with their paths: {results['bytes_a_path']:.0f} bytes an image.")

        width, height = samples.read(0).size
        print(
            f"\n{len(samples)} photographs (the first {width}×{height}), cropped to "
            f"{args.image_size}×{args.image_size}, {args.threads} threads in the bare loop"
        )
        # The files come into the system's memory, the images into the cache.
        turns = {
            name: functools.partial(time_feeding, *variant) for name, variant in feeding.items()
        }
        found = measuring.by_turns(turns, args.rounds, warm_up=2)
        against_the_bare_loop(found)
        results["feeding"] = measuring.summarize(found)
        print(measuring.summary_table(results["feeding"]))
    with mistakes_in_one_sentence():
        file = write_json(output / "benchmark_data.json", results)
    print(f"{file} holds every figure, settings and versions.")


if __name__ == "__main__":
    main()
