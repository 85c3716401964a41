"""Times how pairs are drawn from a very large data set, and how images are read.

python recipes/benchmark_data.py                                two million images, drawn JPEGs
python recipes/benchmark_data.py --data-dir DIR --image-size 448    your own photographs
"""

import argparse
import functools
import json
import os
import pathlib
import sys
import tempfile
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from benchmark import describe_machine, positive, short
from PIL import Image

from cin_keras.data import PairSampler, Samples, image_dataset, pair_dataset
from cin_keras.data.images import EpochCounter, places_in_order

BARE = "bare loop: decode and resize"
SAMPLER_COLUMNS = ("build, s", "pairs/s", "pairs/s through tf.data", "bytes/image, held", "at most")
FEEDING_COLUMNS = ("images/s", "ratio to the bare loop", "CPU, ms/image")


def parse_arguments():
    parser = argparse.ArgumentParser(
        usage="python recipes/benchmark_data.py [options]",
        description="Measures the pair sampler on many images, and how fast images are read.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
    )

    def add(name, metavar=None, help=None, **kwargs):
        parser.add_argument(name, metavar=metavar, help=help, **kwargs)

    add("--images", "N", "in the sampler's index (%(default)s)", type=positive, default=2_000_000)
    add("--classes", "N", "in the sampler's index (%(default)s)", type=positive, default=10_000)
    add("--pairs-per-batch", "N", "(%(default)s)", type=positive, default=10)
    add("--classes-per-batch", "N", "where few are (%(default)s)", type=positive, default=4)
    add("--data-dir", "DIR", "photographs to read, *.jpg in it and below (drawn ones)")
    add("--files", "N", "photographs, at most (%(default)s)", type=positive, default=256)
    add("--width", "N", "of drawn ones, pixels (%(default)s)", type=positive, default=500)
    add("--height", "N", "of drawn ones, pixels (%(default)s)", type=positive, default=375)
    add("--image-size", "N", "of the network, pixels (%(default)s)", type=positive, default=224)
    add("--threads", "N", "of the bare loop (the cores)", type=positive)
    add("--rounds", "N", "every variant once in each (%(default)s)", type=positive, default=7)
    add("--seed", "N", "of labels, photographs, order (%(default)s)", type=int, default=0)
    add("--output", "DIR", "folder to write (%(default)s)", default="runs/benchmark_data")
    return parser.parse_args()


def make_labels(args, long_tail):
    """A class for every image: all equally large, or size falling as one over the rank."""
    weights = 1 / np.arange(1, args.classes + 1) if long_tail else np.ones(args.classes)
    # One image of every class, and the others in proportion.
    others = np.arange(args.images - args.classes) + 0.5
    others = np.searchsorted(np.cumsum(weights) / weights.sum(), others / max(len(others), 1))
    labels = np.concatenate([np.arange(args.classes), others])[: args.images].astype("int32")
    return np.random.default_rng(args.seed).permutation(labels)


def sampler_variants(args):
    """`{name: function that makes the sampler}`."""
    variants = {}
    few = args.classes_per_batch
    for name, long_tail, sampling in (
        ("equal classes", False, "image"),
        ("long tail", True, "image"),
        ("long tail, by class", True, "class"),
    ):
        labels = make_labels(args, long_tail)
        make = functools.partial(
            PairSampler, labels, args.pairs_per_batch, seed=args.seed, sampling=sampling
        )
        variants[name] = make
        variants[f"{name}, {few} a batch"] = functools.partial(make, classes_per_batch=few)
    return variants


def available_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def seconds(run, *args):
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def peak_of_memory(make):
    """Bytes that a sampler holds, and the most while it makes an epoch, labels not counted."""
    tracemalloc.start()
    sampler = make()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    sampler.epoch(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held, peak


def time_samplers(variants, args):
    """Building, drawing an epoch, and a pass of tf.data over it, `{name: {column: [...]}}`."""
    memory = {name: peak_of_memory(make) for name, make in variants.items()}
    figures = {name: {column: [] for column in SAMPLER_COLUMNS} for name in variants}

    def one_round(number):
        for name, make in variants.items():
            sampler = make()
            images = 2 * args.pairs_per_batch * len(sampler)
            epochs = EpochCounter(
                lambda n, sampler=sampler: sampler.epoch(n).reshape(-1), np.arange(images), number
            )
            places = places_in_order(epochs, 2 * args.pairs_per_batch)
            values = (
                seconds(make),
                images / 2 / seconds(sampler.epoch, number),
                images / 2 / seconds(read_all, places),
                *(size / args.images for size in memory[name]),
            )
            for column, value in zip(SAMPLER_COLUMNS, values):
                figures[name][column].append(value)

    run_rounds(one_round, args.rounds)
    return figures


def read_all(dataset):
    for _ in dataset:
        pass


def path_bytes(args):
    """Bytes an image that a list of samples takes, paths as long as ImageNet's."""
    tracemalloc.start()
    paths = [f"train/class_{i % 10_000:05}/image_{i:08}.jpg" for i in range(args.images)]
    samples = Samples(paths, np.zeros(args.images, int), ["any"])
    del paths
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(samples)


def photographs(args, folder):
    """Samples of the user's photographs, or of drawn ones: smooth colours under grain."""
    if args.data_dir:
        paths = sorted(pathlib.Path(args.data_dir).rglob("*.jpg"))[: args.files]
        if len(paths) < 2 * args.pairs_per_batch:
            raise ValueError(
                f"A batch takes {2 * args.pairs_per_batch} photographs. Received: "
                f"--data-dir {args.data_dir} with {len(paths)} files *.jpg"
            )
    else:
        rng = np.random.default_rng(args.seed)
        paths = [pathlib.Path(folder) / f"{i:05}.jpg" for i in range(args.files)]
        for path in paths:
            coarse = rng.integers(0, 256, (12, 16, 3), "uint8")
            smooth = Image.fromarray(coarse).resize((args.width, args.height), Image.BICUBIC)
            grain = rng.normal(0, 6, (args.height, args.width, 3))
            drawn = np.clip(np.asarray(smooth) + grain, 0, 255).astype("uint8")
            Image.fromarray(drawn).save(path, quality=90)
    return Samples(paths, np.arange(len(paths)) % 2, ["even", "odd"])


def feeding_variants(samples, args, folder):
    """`{name: function that reads all images once}`."""
    size, pairs = args.image_size, args.pairs_per_batch

    def decode_and_resize(path):
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((size, size), Image.BILINEAR))

    def bare():
        with ThreadPoolExecutor(args.threads) as pool:
            for _ in pool.map(decode_and_resize, samples.paths):
                pass

    def pipeline(make, **kwargs):
        dataset = make(samples, size, augment="crop", seed=args.seed, **kwargs)
        return lambda: read_all(dataset)

    def in_pairs(**kwargs):
        return pipeline(pair_dataset, pairs_per_batch=pairs, **kwargs)

    return {
        BARE: bare,
        "image_dataset": pipeline(image_dataset, batch_size=2 * pairs, shuffle=True),
        "pair_dataset": in_pairs(),
        "pair_dataset, cache in memory": in_pairs(cache="memory"),
        "pair_dataset, cache on disk": in_pairs(cache=pathlib.Path(folder) / "cache"),
    }


def time_feeding(variants, samples, args):
    """Images per second, their ratio to the bare loop, and work, `{name: {column: [...]}}`."""
    images = dict.fromkeys(variants, len(samples))
    for name in variants:
        if name.startswith("pair_dataset"):  # drops the last incomplete batch
            images[name] -= images[name] % (2 * args.pairs_per_batch)
    # The files come into the system's memory, the images into the cache.
    for run in variants.values():
        for _ in range(2):
            run()
    figures = {name: {column: [] for column in FEEDING_COLUMNS} for name in variants}

    def one_round(_):
        for name, run in variants.items():
            processor = time.process_time()
            speed = images[name] / seconds(run)
            processor = 1000 * (time.process_time() - processor) / images[name]
            # The bare loop is the first of the round.
            bare = speed if name == BARE else figures[BARE]["images/s"][-1]
            for column, value in zip(FEEDING_COLUMNS, (speed, speed / bare, processor)):
                figures[name][column].append(value)

    run_rounds(one_round, args.rounds)
    return figures


def run_rounds(one_round, rounds):
    """Every variant once a round, so that what disturbs the machine disturbs all."""
    progress = keras.utils.Progbar(rounds, unit_name="round")
    try:
        for number in range(rounds):
            one_round(number)
            progress.update(number + 1)
    except KeyboardInterrupt:
        print("\nInterrupted: the figures are those of the rounds that were finished.")


def summarize(figures):
    """Median and quartiles of every figure, of the rounds that all variants have finished."""
    rounds = min(len(values) for columns in figures.values() for values in columns.values())
    if rounds == 0:
        sys.exit("Interrupted before the first round ended: there is nothing to report.")

    def of_values(values):
        low, median, high = np.percentile(values[:rounds], [25, 50, 75])
        return {"median": median, "quartiles": [low, high], "rounds": rounds}

    return {
        name: {column: of_values(values) for column, values in columns.items()}
        for name, columns in figures.items()
    }


def as_table(summary):
    """A Markdown table: medians, and in brackets the quartiles."""
    columns = list(next(iter(summary.values())))
    rows = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for name, of_columns in summary.items():
        cells = [
            "{} ({}–{})".format(*map(short, (x["median"], *x["quartiles"])))
            for x in of_columns.values()
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main():
    args = parse_arguments()
    args.threads = args.threads or available_cores()
    path = pathlib.Path(args.output) / "benchmark_data.json"
    with tempfile.TemporaryDirectory() as folder:
        try:
            # Whether results can be written is found out now, not after measuring.
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".json.partial")
            partial.touch()
            partial.unlink()
            samplers = sampler_variants(args)
            for make in samplers.values():
                make()
            samples = photographs(args, folder)
            feeding = feeding_variants(samples, args, folder)
        except (OSError, ValueError) as error:
            sys.exit(f"error: {error}")
        results = {"settings": vars(args), **describe_machine()}

        print(f"\n{args.images} images in {args.classes} classes, {results['device']}")
        results["sampler"] = summarize(time_samplers(samplers, args))
        print(as_table(results["sampler"]))
        results["bytes_a_path"] = path_bytes(args)
        print(f"`Samples` with their paths: {results['bytes_a_path']:.0f} bytes an image.")

        width, height = samples.read(0).size
        print(
            f"\n{len(samples)} photographs (the first {width}×{height}), cropped to "
            f"{args.image_size}×{args.image_size}, {args.threads} threads in the bare loop"
        )
        results["feeding"] = summarize(time_feeding(feeding, samples, args))
        print(as_table(results["feeding"]))
    partial.write_text(json.dumps(results, indent=2))
    partial.rename(path)
    print(f"{path} holds every figure, settings and versions.")


if __name__ == "__main__":
    main()
