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

import cin_keras
from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import costs, serving, systems
from cin_keras.measuring.peers import LongForm, check_peers
from cin_keras.models import TRAINING_RATES
from cin_keras.optimizers import LayerwiseSGD
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.streams import tidy_streams

MODELS = BACKBONE, LONG, SHIPPED, BLOCKS = (
    "backbone",
    "CIN, long form",
    "CIN",
    "CIN, blocks of rows",
)
PEER = "CIN, plain PyTorch"
# A step too small to move the weights, so that every round computes with the same numbers.
LEARNING_RATE = 1e-7


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
    keras.utils.set_random_seed(args.seed)
    # The backbone with a linear classifier, or with the interaction.
    form = {"interaction": None, "contrast": None}
    if name != BACKBONE:
        form = {"pooled": name != LONG, "phi_kernel_size": args.phi_kernel_size}
    model = cin_keras.CIN(
        args.classes,
        backbone=args.backbone,
        weights=None,
        input_shape=(args.image_size, args.image_size, 3),
        feature_layer=args.feature_layer,
        block_rows=args.block_rows if name == BLOCKS else None,
        **form,
    )
    costs.wake(model, args.seed)
    model.compile(
        LayerwiseSGD(LEARNING_RATE, rates=TRAINING_RATES, momentum=0.9, clipnorm=1.0),
        loss=cin_keras.losses.SoftmaxCrossentropy(),
        jit_compile={"on": True, "off": False, None: "auto"}[args.jit_compile],
    )
    return model


def build_system(name, args):
    return systems.build_system(name, args.classes, args.image_size, args.seed)


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
    print(costs.cost_table(found))
    print(costs.differences_in_words(found, (SHIPPED, BLOCKS)))
    return {"models": found}


def measure_peaks(args, arguments):
    """The memory that training takes, in a process of its own for each figure."""
    if args.memory_pairs is None:
        return {}
    command, counts = [sys.executable, __file__, *arguments], args.memory_pairs
    memory = measuring.measure_memory(command, MODELS, counts or [args.pairs_per_batch])
    print(measuring.memory_table(memory))
    return memory


def time_serving(models, args):
    """What every exported form takes."""
    forms = serving.measure_serving(models[SHIPPED], args.rounds, args.seed)
    print(serving.serving_table(forms))
    return {"forms": forms}


def time_systems(models, args):
    """The paper's time table, and the paper's own figures."""
    budget = args.pairs_per_batch, args.classes, args.rounds, args.steps, args.seed
    found = systems.time_systems(models, args.image_size, *budget, train=args.train)
    published = {name: milliseconds for name, (_, milliseconds) in systems.SYSTEMS.items()}
    print(systems.systems_table(found, published, systems.PLAIN))
    return {"systems": found}


def time_peers(models, args):
    """CIN beside the long form in plain PyTorch."""
    models[PEER] = LongForm(models.pop(LONG), LEARNING_RATE)
    found = costs.time_both(models, make_batches(args), args.rounds, args.steps, BACKBONE)
    print(systems.systems_table(found, None, BACKBONE))
    return {"peers": found}


@tidy_streams()
def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse_arguments(arguments)
    keras.config.set_dtype_policy(args.dtype)
    if args.peak_of:  # a process of its own, for `measure_peaks`
        model, batches = build_model(args.peak_of, args), make_batches(args)
        for _ in range(2):
            costs.train_step(model, batches)
        return print(measuring.peak_megabytes())
    kind, names, build, measure = "benchmark", MODELS, build_model, compare
    what = (
        f"{args.backbone}, {args.image_size}×{args.image_size}, {args.batch_size} images in "
        f"inference, {args.pairs_per_batch} pairs in training"
    )
    if args.serving:
        kind, names, measure = "serving", [SHIPPED], time_serving
        what = f"{args.backbone}, {args.image_size}×{args.image_size}, one image"
    if args.peers:
        kind, names, measure = "peers", [BACKBONE, SHIPPED, LONG], time_peers
    if args.systems:
        kind, names, build, measure = "systems", systems.SYSTEMS, build_system, time_systems
        what = f"the paper's systems, {args.image_size}×{args.image_size}, batches of 1 and of 8 images"
    folder, machine = pathlib.Path(args.output), measuring.describe_machine()
    with mistakes_in_one_sentence():
        check_writable(folder)
        if args.peers:
            check_peers()
        models = {name: build(name, args) for name in names}
    title = f"{what}, {args.dtype}, {machine['backend']}, {machine['device']}"
    print(title)
    results = {"title": title, "settings": vars(args), **machine, **measure(models, args)}
    if kind == "benchmark":
        results["memory"] = measure_peaks(args, arguments)
    with mistakes_in_one_sentence():
        written = [write_json(folder / f"{kind}.json", results)]
        if kind == "benchmark":
            shown = results["models"], results["memory"], title
            written.append(costs.cost_figure(*shown, folder / "benchmark.png"))
    print(f"{folder}/\n  {', '.join(path.name for path in written)}")


if __name__ == "__main__":
    main()
