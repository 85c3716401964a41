"""Times how pairs are drawn from a very large data set, and how images are read.

python recipes/benchmark_data.py                                two million images, drawn JPEGs
python recipes/benchmark_data.py --data-dir DIR --image-size 448    your own photographs
python recipes/benchmark_data.py --shards 1000000 --image-size 64   many small ones in few files
"""

import pathlib
import tempfile

from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.data import Samples
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import feeding, sharded
from cin_keras.threads import available_cores
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.streams import tidy_streams


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
    add("--shards", "N", "instead: so many small photographs, in shards", type=number)
    add("--batches", "N", "to read of shards (%(default)s)", type=number, default=5000)
    add("--rounds", "N", "every variant once in each (%(default)s)", type=number, default=7)
    add("--seed", "N", "of labels, photographs, order (%(default)s)", type=int, default=0)
    args = parser.parse_args(arguments)
    args.threads = args.threads or available_cores()
    return args


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
    return Samples(paths, [i % 2 for i in range(len(paths))], ["even", "odd"])


def main_of_shards(args):
    with mistakes_in_one_sentence(), tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(args.output)
        check_writable(output)
        found = sharded.measure_shards(
            f"{folder}/shards",
            args.shards,
            args.classes,
            args.image_size,
            args.pairs_per_batch,
            args.batches,
            args.seed,
        )
        print(f"{args.shards} photographs of {args.image_size}×{args.image_size} pixels in shards")
        for name, value in found.items():
            print(f"{name:>20}: {value:.4g}")
        results = {"settings": vars(args), **measuring.describe_machine(), "shards": found}
        print(f"{write_json(output / 'benchmark_shards.json', results)} holds every figure.")


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    if args.shards:
        main_of_shards(args)
        return
    output, machine = pathlib.Path(args.output), measuring.describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        with mistakes_in_one_sentence():
            check_writable(output)
            samplers = feeding.sampler_variants(
                feeding.usual_labels(args.images, args.classes, args.seed),
                args.pairs_per_batch,
                args.classes_per_batch,
                args.seed,
            )
            samples = photographs(args, folder)
            readers = feeding.reading_variants(
                samples, args.image_size, args.pairs_per_batch, args.threads, folder, args.seed
            )
        results = {"settings": vars(args), **machine}

        print(f"\n{args.images} images in {args.classes} classes, {machine['device']}")
        found = measuring.by_turns(samplers, args.rounds)
        results["sampler"] = measuring.summarize(found)
        print(measuring.summary_table(results["sampler"]))
        held, _ = measuring.bytes_of_python(lambda: feeding.long_list(args.images))
        results["bytes_a_path"] = held / args.images
        print(f"`Samples` with their paths: {results['bytes_a_path']:.0f} bytes an image.")

        width, height = samples.read(0).size
        print(
            f"\n{len(samples)} photographs (the first {width}×{height}), cropped to "
            f"{args.image_size}×{args.image_size}, {args.threads} threads in the bare loop"
        )
        # Twice before: the files come into the system's memory, the images into the cache.
        found = measuring.by_turns(readers, args.rounds, warm_up=2)
        results["feeding"] = measuring.summarize(feeding.against_the_bare_loop(found))
        print(measuring.summary_table(results["feeding"]))
    with mistakes_in_one_sentence():
        file = write_json(output / "benchmark_data.json", results)
    print(f"{file} holds every figure, settings and versions.")


if __name__ == "__main__":
    main()
