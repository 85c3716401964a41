"""Times a backbone with a linear classifier, with a contrast, CIN as the paper writes it, and CIN as shipped.

python recipes/benchmark.py                                     ResNet-50, 448x448, 4 pairs
python recipes/benchmark.py --backbone mobilenet --image-size 224 --mixed-precision bfloat16
python recipes/benchmark.py --serving                           what answers one image, and its size
python recipes/benchmark.py --systems                           every system of the paper's time table
KERAS_BACKEND=torch python recipes/benchmark.py --peers         CIN as others compute it
"""

import argparse
import pathlib
import sys

import keras

from cin_keras.checks import positive
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import benchmarks, costs
from cin_keras.measuring.machine import describe_machine
from cin_keras.measuring.memory import measure_memory, memory_table
from cin_keras.measuring.rounds import many_models_are_traced
from cin_keras.streams import tidy_streams
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.options import measuring_parser


def parse_arguments(arguments):
    parser = measuring_parser(
        "python recipes/benchmark.py",
        "Measures what CIN costs beyond its backbone, in time and memory.",
        "runs/benchmark",
    )
    add, switch = parser.add, parser.switch
    add("--backbone", "NAME", "in keras.applications (%(default)s)", default="resnet50")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--image-size", "N", "pixels (%(default)s)", type=positive(int), default=448)
    add("--pairs-per-batch", "N", "in training (%(default)s)", type=positive(int), default=4)
    add("--batch-size", "N", "images in inference (two a pair)", type=positive(int))
    add("--classes", "N", "(%(default)s)", type=positive(int), default=200)
    add("--mixed-precision", "TYPE", "float16 or bfloat16", choices=["float16", "bfloat16"])
    add("--jit-compile", "WHEN", "on or off (Keras decides)", choices=["on", "off"])
    add("--phi-kernel-size", "N", "of φ (%(default)s)", type=positive(int), default=3)
    add("--block-rows", "N", "rows in a block (%(default)s)", type=positive(int), default=256)
    add("--rounds", "N", "every model once in each (%(default)s)", type=positive(int), default=9)
    add("--steps", "N", "steps timed at a time (%(default)s)", type=positive(int), default=1)
    add("--memory-pairs", "N", "pairs to take the peak memory at", type=positive(int), nargs="*")
    switch("--serving", "only the exported forms, on one image")
    switch("--systems", "only the paper's time table")
    switch("--peers", "only CIN as the public toolbox has it, and NTS; PyTorch")
    switch("--train", "of the systems, training steps as well")
    add("--seed", "N", "of weights and images (%(default)s)", type=int, default=0)
    add("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.serving + args.systems + args.peers > 1:
        parser.error("--serving, --systems and --peers are measured one at a time: give one of them")
    if args.train and not args.systems:
        parser.error("--train is for --systems: give that, too, or leave --train out")
    if args.memory_pairs is not None and (args.serving or args.systems or args.peers):
        parser.error(
            "--memory-pairs is for the forms of CIN in training: leave it out, or --serving, --systems "
            "and --peers"
        )
    args.batch_size = args.batch_size or 2 * args.pairs_per_batch
    args.dtype = f"mixed_{args.mixed_precision}" if args.mixed_precision else "float32"
    return args


def what_to_measure(args):
    """Its name, and the `Benchmark` that the options ask for."""
    steps = args.rounds, args.steps, args.seed
    if args.systems:
        budget = args.image_size, args.pairs_per_batch, args.classes, *steps
        return "systems", benchmarks.paper_systems(*budget, train=args.train)
    budget = args.image_size, args.batch_size, args.pairs_per_batch, args.classes, *steps
    forms = benchmarks.forms(
        *budget,
        args.backbone,
        args.block_rows,
        args.phi_kernel_size,
        feature_layer=args.feature_layer,
        jit_compile={"on": True, "off": False, None: "auto"}[args.jit_compile],
    )
    if args.peers:
        network = {"backbone": args.backbone, "feature_layer": args.feature_layer}
        return "peers", benchmarks.peers(forms, *budget, **network)
    if args.serving:
        served = args.image_size, args.rounds, args.seed, args.backbone
        return "serving", benchmarks.exported(forms, *served)
    return "benchmark", forms


@tidy_streams()
@many_models_are_traced()
def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse_arguments(arguments)
    keras.config.set_dtype_policy(args.dtype)
    folder, machine = pathlib.Path(args.output), describe_machine()
    with mistakes_in_one_sentence():
        kind, benchmark = what_to_measure(args)
        if args.peak_of:  # a process of its own, for `measure_memory`
            counts = args.batch_size, args.pairs_per_batch
            batches = costs.random_batches(args.image_size, *counts, args.classes, args.seed)
            return print(costs.peak_of_training(benchmark.build(args.peak_of), batches))
        check_writable(folder)
        models = {name: benchmark.build(name) for name in benchmark.names}
    title = f"{benchmark.title}, {args.dtype}, {machine['backend']}, {machine['device']}"
    print(title)
    found, text = benchmark.measure(models)
    print(text)
    results = {"title": title, "settings": vars(args), **machine, benchmark.key: found}
    if kind == "benchmark":
        results["memory"] = {}
        if args.memory_pairs is not None:
            command, counts = [sys.executable, __file__, *arguments], args.memory_pairs
            counts = counts or [args.pairs_per_batch]
            results["memory"] = measure_memory(command, benchmark.names, counts)
            print(memory_table(results["memory"]))
    with mistakes_in_one_sentence():
        written = [write_json(folder / f"{kind}.json", results)]
        if kind == "benchmark":
            shown = found, results["memory"], title
            written.append(costs.cost_figure(*shown, folder / "benchmark.png"))
    print(f"{folder}/\n  {', '.join(path.name for path in written)}")


if __name__ == "__main__":
    main()
