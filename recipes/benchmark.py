"""Times a backbone with a linear classifier, CIN as the paper writes it, and CIN as shipped.

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

from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import costs, serving, systems
from cin_keras.measuring.peers import LongForm, check_peers
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.streams import tidy_streams

MODELS = BACKBONE, LONG, SHIPPED, BLOCKS = (
    "backbone",
    "CIN, long form",
    "CIN",
    "CIN, blocks of rows",
)
PEER = "CIN, plain PyTorch"


def parse_arguments(arguments):
    parser, add = measuring.measuring_parser(
        "python recipes/benchmark.py",
        "Measures what CIN costs beyond its backbone, in time and memory.",
        "runs/benchmark",
    )
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
    add("--serving", help="only the exported forms, on one image", action="store_true")
    add("--systems", help="only the paper's time table", action="store_true")
    add("--peers", help="only CIN as the public toolbox has it, PyTorch", action="store_true")
    add("--train", help="of the systems, training steps as well", action="store_true")
    add("--seed", "N", "of weights and images (%(default)s)", type=int, default=0)
    add("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.batch_size = args.batch_size or 2 * args.pairs_per_batch
    args.dtype = f"mixed_{args.mixed_precision}" if args.mixed_precision else "float32"
    return args


def build_model(name, args):
    """One of the models that are compared, compiled."""
    if args.systems:
        return systems.build_system(name, args.classes, args.image_size, args.seed)
    form = {"interaction": None, "contrast": None}
    if name != BACKBONE:
        form = {"pooled": name != LONG, "phi_kernel_size": args.phi_kernel_size}
    return costs.build_awake(
        args.classes,
        args.image_size,
        args.seed,
        {"on": True, "off": False, None: "auto"}[args.jit_compile],
        backbone=args.backbone,
        feature_layer=args.feature_layer,
        block_rows=args.block_rows if name == BLOCKS else None,
        **form,
    )


def make_batches(args):
    counts = args.batch_size, args.pairs_per_batch
    return costs.random_batches(args.image_size, *counts, args.classes, args.seed)


def compare(models, args):
    """Time and size of a backbone, the paper's form of CIN, and ours."""
    found = costs.compare_models(
        models, make_batches(args), args.rounds, args.steps, baseline=BACKBONE, reference=LONG
    )
    for name, model in models.items():
        found[name]["exported_megabytes"] = serving.exported_megabytes(model)
    return found, f"{costs.cost_table(found)}\n{costs.differences_in_words(found, (SHIPPED, BLOCKS))}"


def time_serving(models, args):
    """What every exported form takes."""
    found = serving.measure_serving(models[SHIPPED], args.rounds, args.seed)
    return found, serving.serving_table(found)


def time_systems(models, args):
    """The paper's time table, and the paper's own figures."""
    budget = args.pairs_per_batch, args.classes, args.rounds, args.steps, args.seed
    found = systems.time_systems(models, args.image_size, *budget, train=args.train)
    return found, systems.systems_table(found, systems.published(), systems.PLAIN)


def time_peers(models, args):
    """CIN beside the long form in plain PyTorch."""
    models[PEER] = LongForm(models.pop(LONG), costs.LEARNING_RATE)
    found = costs.time_both(models, make_batches(args), args.rounds, args.steps, BACKBONE)
    return found, systems.systems_table(found, None, BACKBONE)


def kind_of(args):
    """What is measured: its name, models, title, function, and the key of its results."""
    size = f"{args.image_size}×{args.image_size}"
    batches = f"{args.batch_size} images in inference, {args.pairs_per_batch} pairs in training"
    if args.systems:
        title = f"the paper's systems, {size}, batches of 1 and of 8 images"
        return "systems", systems.SYSTEMS, title, time_systems, "systems"
    if args.peers:
        title = f"{args.backbone}, {size}, {batches}"
        return "peers", [BACKBONE, SHIPPED, LONG], title, time_peers, "peers"
    if args.serving:
        return "serving", [SHIPPED], f"{args.backbone}, {size}, one image", time_serving, "forms"
    return "benchmark", MODELS, f"{args.backbone}, {size}, {batches}", compare, "models"


@tidy_streams()
def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse_arguments(arguments)
    keras.config.set_dtype_policy(args.dtype)
    if args.peak_of:  # a process of its own, for `measure_memory`
        return print(costs.peak_of_training(build_model(args.peak_of, args), make_batches(args)))
    kind, names, title, measure, key = kind_of(args)
    folder, machine = pathlib.Path(args.output), measuring.describe_machine()
    with mistakes_in_one_sentence():
        check_writable(folder)
        if args.peers:
            check_peers()
        models = {name: build_model(name, args) for name in names}
    title = f"{title}, {args.dtype}, {machine['backend']}, {machine['device']}"
    print(title)
    found, text = measure(models, args)
    print(text)
    results = {"title": title, "settings": vars(args), **machine, key: found}
    if measure is compare:
        results["memory"] = {}
        if args.memory_pairs is not None:
            command, counts = [sys.executable, __file__, *arguments], args.memory_pairs
            counts = counts or [args.pairs_per_batch]
            results["memory"] = measuring.measure_memory(command, MODELS, counts)
            print(measuring.memory_table(results["memory"]))
    with mistakes_in_one_sentence():
        written = [write_json(folder / f"{kind}.json", results)]
        if measure is compare:
            shown = found, results["memory"], title
            written.append(costs.cost_figure(*shown, folder / "benchmark.png"))
    print(f"{folder}/\n  {', '.join(path.name for path in written)}")


if __name__ == "__main__":
    main()
