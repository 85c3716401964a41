"""Times how pairs are drawn from a very large data set, and how images are read.

python recipes/benchmark_data.py                                two million images, drawn JPEGs
python recipes/benchmark_data.py --data-dir DIR --image-size 448    your own photographs
"""

import functools
import pathlib
import tempfile
import time

import numpy as np

from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.data import PairSampler, Samples, image_dataset, pair_dataset
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import feeding
from cin_keras.threads import available_cores
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.streams import tidy_streams

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
    args.threads = args.threads or available_cores()
    return args


def sampler_variants(args):
    """`{name: function of the round's number that measures a sampler}`."""
    variants = {}
    for name, long_tail, sampling in (
        ("equal classes", False, "image"),
        ("long tail", True, "image"),
        ("long tail, by class", True, "class"),
    ):
        labels = feeding.random_labels(args.images, args.classes, long_tail, args.seed)
        pairs, few = args.pairs_per_batch, args.classes_per_batch
        make = functools.partial(PairSampler, labels, pairs, seed=args.seed, sampling=sampling)
        variants[name] = sampler_round(make, args)
        make_few = functools.partial(make, classes_per_batch=few)
        variants[f"{name}, {few} a batch"] = sampler_round(make_few, args)
    return variants


def sampler_round(make, args):
    held, peak = measuring.bytes_of_python(make, lambda sampler: sampler.epoch(0))
    memory = {"bytes/image, held": held / args.images, "at most": peak / args.images}
    return lambda number: feeding.time_sampler(make, args.pairs_per_batch, number) | memory


def long_list(images):
    """Samples of so many images, paths as long as ImageNet's."""
    paths = [f"train/class_{i % 10_000:05}/image_{i:08}.jpg" for i in range(images)]
    return Samples(paths, np.zeros(images, int), ["any"])


def photographs(args, folder):
    """Samples of the user's photographs, or of made-up ones."""
    if args.data_dir:
        paths = sorted(pathlib.Path(args.data_dir).rglob("*.jpg"))[: args.files]
    else:
        size = args.width, args.height
        paths = feeding.random_photographs(folder, args.files, *size, args.seed)
    if len(paths) < 2 * args.pairs_per_batch:
        where = f"--data-dir {args.data_dir} with" if args.data_dir else "--files"
        raise ValueError(
            f"A batch takes {2 * args.pairs_per_batch} photographs, as --pairs-per-batch says. "
            f"Received: {where} {len(paths)} files *.jpg"
        )
    return Samples(paths, np.arange(len(paths)) % 2, ["even", "odd"])


def feeding_variants(samples, args, folder):
    """`{name: function of the round's number that reads all images once}`."""
    size, batch, count = args.image_size, 2 * args.pairs_per_batch, len(samples)

    def variant(read, images=count):
        def run(number):
            start = time.process_time()
            speed = images / measuring.seconds(read)
            work = 1000 * (time.process_time() - start) / images
            # The ratio is still to be divided by the bare loop's speed in this round.
            return {"images/s": speed, "ratio to the bare loop": speed, "CPU, ms/image": work}

        return run

    def pipeline(make, images=count, **kwargs):
        dataset = make(samples, size, augment="crop", seed=args.seed, **kwargs)
        return variant(lambda: feeding.read_all(dataset), images)

    def in_pairs(cache=None):  # drops the last incomplete batch
        own = {"pairs_per_batch": args.pairs_per_batch, "cache": cache}
        return pipeline(pair_dataset, count - count % batch, **own)

    return {
        BARE: variant(lambda: feeding.decode_and_resize(samples.paths, size, args.threads)),
        "image_dataset": pipeline(image_dataset, batch_size=batch, shuffle=True),
        "pair_dataset": in_pairs(),
        "pair_dataset, cache in memory": in_pairs("memory"),
        "pair_dataset, cache on disk": in_pairs(pathlib.Path(folder) / "cache"),
    }


def against_the_bare_loop(found):
    """Divides every ratio by the bare loop's speed in the same round."""
    for rounds in found.values():
        for own, bare in zip(rounds, found[BARE]):
            own["ratio to the bare loop"] /= bare["images/s"]
    return found


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    output, machine = pathlib.Path(args.output), measuring.describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        with mistakes_in_one_sentence():
            check_writable(output)
            samplers = sampler_variants(args)
            samples = photographs(args, folder)
            readers = feeding_variants(samples, args, folder)
        results = {"settings": vars(args), **machine}

        print(f"\n{args.images} images in {args.classes} classes, {machine['device']}")
        found = measuring.by_turns(samplers, args.rounds)
        results["sampler"] = measuring.summarize(found)
        print(measuring.summary_table(results["sampler"]))
        held, _ = measuring.bytes_of_python(lambda: long_list(args.images))
        results["bytes_a_path"] = held / args.images
        print(f"`Samples` with their paths: {results['bytes_a_path']:.0f} bytes an image.")

        width, height = samples.read(0).size
        print(
            f"\n{len(samples)} photographs (the first {width}×{height}), cropped to "
            f"{args.image_size}×{args.image_size}, {args.threads} threads in the bare loop"
        )
        # Twice before: the files come into the system's memory, the images into the cache.
        found = measuring.by_turns(readers, args.rounds, warm_up=2)
        results["feeding"] = measuring.summarize(against_the_bare_loop(found))
        print(measuring.summary_table(results["feeding"]))
    with mistakes_in_one_sentence():
        file = write_json(output / "benchmark_data.json", results)
    print(f"{file} holds every figure, settings and versions.")


if __name__ == "__main__":
    main()
