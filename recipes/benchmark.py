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
from cin_keras.measuring import costs, serving
from cin_keras.measuring.peers import LongForm, check_peers
from cin_keras.models import TRAINING_RATES
from cin_keras.optimizers import LayerwiseSGD
from cin_keras.training import mistakes_in_one_sentence
from cin_keras.training.streams import tidy_streams

BACKBONE, LONG, SHIPPED, BLOCKS = "backbone", "CIN, long form", "CIN", "CIN, blocks of rows"
PEER = "CIN, plain PyTorch"
# The paper's time table: the arguments of each system, and its milliseconds an image.
PLAIN, ON_RESNET_50 = "ResNet-50", {"backbone": "resnet50", "interaction": None, "contrast": None}
SYSTEMS = {
    PLAIN: (ON_RESNET_50, 12.5),
    "ResNet-101": (ON_RESNET_50 | {"backbone": "resnet101"}, 22.4),
    "VGG-19": (ON_RESNET_50 | {"backbone": "vgg19"}, 22.1),
    "+ SE": (ON_RESNET_50 | {"interaction": "squeeze_excite"}, 14.0),
    "+ non-local": (ON_RESNET_50 | {"interaction": "non_local"}, 14.2),
    "+ CGNL": (ON_RESNET_50 | {"interaction": "cgnl"}, 15.0),
    "+ MAMC": (ON_RESNET_50 | {"interaction": "osme", "contrast": "mamc"}, 14.8),
    "+ SCI": (ON_RESNET_50 | {"interaction": "sci"}, 17.2),
    "CIN": (ON_RESNET_50 | {"interaction": "sci", "contrast": "cci"}, 17.2),
    "NTS": (ON_RESNET_50, 23.6),
}
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
    keras.config.set_dtype_policy(args.dtype)
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
    """One of the systems of the paper's time table, compiled."""
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(args.dtype)
    build = cin_keras.NTS if name == "NTS" else cin_keras.CIN
    shape = (args.image_size, args.image_size, 3)
    return build(args.classes, weights=None, input_shape=shape, **SYSTEMS[name][0])


def time_systems(args, results, folder):
    """The paper's time table, and the paper's own figures; returns the file it has written."""
    models = {name: build_system(name, args) for name in SYSTEMS}
    batches = {images: make_batches(args, images) for images in (1, 8)}
    tasks = {
        f"batch of {count}": lambda model, images=batch["inference"]: model.predict_on_batch(images)
        for count, batch in batches.items()
    }
    images = dict(zip(tasks, batches))
    if args.train:
        tasks["training"] = lambda model: costs.train_step(model, batches[1])
        images["training"] = 2 * args.pairs_per_batch
    found = costs.time_tasks(models, tasks, images, args.rounds, args.steps, PLAIN)
    results["systems"] = found
    published = {name: milliseconds for name, (_, milliseconds) in SYSTEMS.items()}
    print(costs.systems_table(found, published, PLAIN))
    return [write_json(folder / "systems.json", results)]


def time_peers(args, results, folder):
    """CIN beside the long form in plain PyTorch; returns the file it has written."""
    models = {name: build_model(name, args) for name in (BACKBONE, SHIPPED)}
    models[PEER] = LongForm(build_model(LONG, args), LEARNING_RATE)
    batches, pairs = make_batches(args), 2 * args.pairs_per_batch
    tasks = {
        "inference": lambda model: model.predict_on_batch(batches["inference"]),
        "training": lambda model: costs.train_step(model, batches),
    }
    images = {"inference": args.batch_size, "training": pairs}
    found = costs.time_tasks(models, tasks, images, args.rounds, args.steps, BACKBONE)
    results["peers"] = found
    print(costs.systems_table(found, dict.fromkeys(models), BACKBONE))
    return [write_json(folder / "peers.json", results)]


def make_batches(args, images=None):
    size, pairs = args.image_size, args.pairs_per_batch
    return costs.random_batches(size, images or args.batch_size, pairs, args.classes, args.seed)


def compare(models, args, arguments, results, folder):
    """Time, memory and size of the models that are compared; returns the files it has written."""
    results["models"] = costs.compare_models(
        models, make_batches(args), args.rounds, args.steps, baseline=BACKBONE, reference=LONG
    )
    for name, model in models.items():
        results["models"][name]["exported_megabytes"] = serving.exported_megabytes(model)
    print(costs.cost_table(results["models"]))
    print(costs.differences_in_words(results["models"], (SHIPPED, BLOCKS)))
    results["memory"] = {}
    if args.memory_pairs is not None:
        command, counts = [sys.executable, __file__, *arguments], args.memory_pairs
        results["memory"] = measuring.measure_memory(
            command, list(models), counts or [args.pairs_per_batch]
        )
        print(measuring.memory_table(results["memory"]))
    shown = results["models"], results["memory"], results["title"]
    with mistakes_in_one_sentence():
        file = write_json(folder / "benchmark.json", results)
        return [file, costs.cost_figure(*shown, folder / "benchmark.png")]


def serve(model, args, results, folder):
    """What every exported form takes; returns the file it has written."""
    results["forms"] = serving.measure_serving(model, args.rounds, args.seed)
    print(serving.serving_table(results["forms"]))
    return [write_json(folder / "serving.json", results)]


@tidy_streams()
def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse_arguments(arguments)
    if args.peak_of:  # a process of its own, for `measure_memory`
        model, batches = build_model(args.peak_of, args), make_batches(args)
        for _ in range(2):
            costs.train_step(model, batches)
        return print(measuring.peak_megabytes())
    folder, machine = pathlib.Path(args.output), measuring.describe_machine()
    with mistakes_in_one_sentence():
        check_writable(folder)
        names, what = [BACKBONE, LONG, SHIPPED, BLOCKS], args.backbone
        seen = f"{args.batch_size} images in inference, {args.pairs_per_batch} pairs in training"
        if args.serving:
            names, seen = [SHIPPED], "one image"
        if args.peers:
            check_peers()
            names = []
        if args.systems:
            names, what, seen = [], "the paper's systems", "batches of 1 and of 8 images"
        models = {name: build_model(name, args) for name in names}
    title = (
        f"{what}, {args.image_size}×{args.image_size}, {seen}, {args.dtype}, "
        f"{machine['backend']}, {machine['device']}"
    )
    print(title)
    results = {"title": title, "settings": vars(args), **machine}
    if args.systems:
        written = time_systems(args, results, folder)
    elif args.peers:
        written = time_peers(args, results, folder)
    elif args.serving:
        written = serve(models[SHIPPED], args, results, folder)
    else:
        written = compare(models, args, arguments, results, folder)
    print(f"{folder}/\n  {', '.join(path.name for path in written)}")


if __name__ == "__main__":
    main()
