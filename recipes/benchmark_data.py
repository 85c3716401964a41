"""Times how pairs are drawn from a very large data set, and how images are read.

python recipes/benchmark_data.py                                two million images, drawn JPEGs
python recipes/benchmark_data.py --data-dir DIR --image-size 448    your own photographs
python recipes/benchmark_data.py --shards 1000000 --image-size 64   many small ones in few files
"""

import pathlib
import tempfile

from cin_keras.checks import positive
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import feeding, shards
from cin_keras.measuring.machine import describe_machine
from cin_keras.measuring.rounds import by_turns, summarize
from cin_keras.measuring.tables import summary_table
from cin_keras.streams import tidy_streams
from cin_keras.threads import available_cores
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.options import measuring_parser


def parse_arguments(arguments=None):
    parser = measuring_parser(
        "python recipes/benchmark_data.py",
        "Measures the pair sampler on many images, and how fast images are read.",
        "runs/benchmark_data",
    )
    add = parser.add
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


def read_shards(args, output):
    """What small photographs in a few files take."""
    with mistakes_in_one_sentence(), tempfile.TemporaryDirectory() as folder:
        check_writable(output)
        budget = args.image_size, args.pairs_per_batch, args.batches, args.seed
        found = shards.measure_shards(f"{folder}/shards", args.shards, args.classes, *budget)
        print(f"{args.shards} photographs of {args.image_size}×{args.image_size} pixels in shards")
        for name, value in found.items():
            print(f"{name:>20}: {value:.4g}")
        results = {"settings": vars(args), **describe_machine(), "shards": found}
        print(f"{write_json(output / 'benchmark_shards.json', results)} holds every figure.")


@tidy_streams()
def main(arguments=None):
    args = parse_arguments(arguments)
    output, machine = pathlib.Path(args.output), describe_machine()
    if args.shards:
        return read_shards(args, output)
    with tempfile.TemporaryDirectory() as folder:
        pairs, seed = args.pairs_per_batch, args.seed
        with mistakes_in_one_sentence():
            check_writable(output)
            labels = feeding.usual_labels(args.images, args.classes, seed)
            samplers = feeding.sampler_variants(labels, pairs, args.classes_per_batch, seed)
            size = args.width, args.height
            samples = feeding.photographs(folder, args.data_dir, args.files, size, pairs, seed)
            readers = feeding.reading_variants(
                samples, args.image_size, pairs, args.threads, folder, seed
            )
        print(f"\n{args.images} images in {args.classes} classes, {machine['device']}")
        drawn = summarize(by_turns(samplers, args.rounds))
        print(summary_table(drawn))
        bytes_a_path = feeding.bytes_a_path(args.images)
        print(f"`Samples` with their paths: {bytes_a_path:.0f} bytes an image.")

        print(
            f"\n{len(samples)} photographs (the first {'×'.join(map(str, samples.read(0).size))}), "
            f"cropped to {args.image_size}×{args.image_size}, {args.threads} threads in the bare loop"
        )
        # Twice before: the files come into the system's memory, the images into the cache.
        found = by_turns(readers, args.rounds, warm_up=2)
        fed = summarize(feeding.against_the_bare_loop(found))
        print(summary_table(fed))
    results = {"sampler": drawn, "bytes_a_path": bytes_a_path, "feeding": fed}
    with mistakes_in_one_sentence():
        file = write_json(
            output / "benchmark_data.json", {"settings": vars(args), **machine, **results}
        )
    print(f"{file} holds every figure, settings and versions.")


if __name__ == "__main__":
    main()
