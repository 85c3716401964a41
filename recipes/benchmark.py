"""Times a backbone with a linear classifier, CIN as the paper writes it, and CIN as shipped.

python recipes/benchmark.py                                     ResNet-50, 448x448, 4 pairs
python recipes/benchmark.py --backbone mobilenet --image-size 224 --mixed-precision bfloat16
python recipes/benchmark.py --serving                           what answers one image, and its size
"""

import argparse
import pathlib
import sys

import keras
import numpy as np

import cin_keras
from cin_keras import measuring
from cin_keras.checks import positive
from cin_keras.files import check_writable, write_json
from cin_keras.measuring import costs, serving
from cin_keras.models import TRAINING_RATES
from cin_keras.optimizers import LayerwiseSGD
from cin_keras.training import mistakes_in_one_sentence

BACKBONE, LONG, SHIPPED, BLOCKS = "backbone", "CIN, long form", "CIN", "CIN, blocks of rows"
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
    add("--block-rows", "N", "rows in a block (%(default)s)", type=positive(int), default=256)
    add("--rounds", "N", "every model once in each (%(default)s)", type=positive(int), default=9)
    add("--steps", "N", "steps timed at a time (%(default)s)", type=positive(int), default=1)
    add("--memory-pairs", "N", "pairs to take the peak memory at", type=positive(int), nargs="*")
    add("--serving", help="only the exported forms, on one image", action="store_true")
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
    form = {"interaction": None, "contrast": None} if name == BACKBONE else {"pooled": name != LONG}
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


def make_data(args):
    """Images for inference and a training batch, single and in pairs, on the device."""
    rng = np.random.default_rng(args.seed)
    tensor, pairs = keras.ops.convert_to_tensor, args.pairs_per_batch
    labels = rng.integers(0, args.classes, (2, pairs))
    labels[1, ::2] = labels[0, ::2]
    training, inference = (
        rng.uniform(0, 255, (images, args.image_size, args.image_size, 3)).astype("float32")
        for images in (2 * pairs, args.batch_size)
    )
    images = tensor(training[::2]), tensor(training[1::2])
    return {
        "inference": tensor(inference),
        "single": (tensor(training), tensor(labels.T.reshape(-1))),
        "paired": (images, (tensor(labels[0]), tensor(labels[1]))),
    }


def train(model, data):
    """One step, to the end: the loss has arrived at the host."""
    x, y = data["paired" if model.contrast else "single"]
    return model.train_on_batch(x, y, return_dict=True)["loss"]


def measure(models, data, args):
    """One dict a model: times of inference and training, sizes, difference from the long form."""
    tasks = {
        "inference": lambda model: model.predict_on_batch(data["inference"]),
        "training": lambda model: train(model, data),
    }

    def timed(run, model):
        return lambda number: measuring.seconds(run, model, times=args.steps)

    # Training first: without its statistics of batch normalisation no signal reaches the output.
    answers = {
        n: [tasks[t](model) for t in ("training", "inference")] for n, model in models.items()
    }
    turns = {(t, n): timed(run, model) for t, run in tasks.items() for n, model in models.items()}
    times = measuring.by_turns(turns, args.rounds, warm_up=2)
    images = {"inference": args.batch_size, "training": 2 * args.pairs_per_batch}
    results = {}
    for name, model in models.items():
        differences = map(costs.relative_difference, answers[name], answers[LONG])
        results[name] = {
            **{t: costs.per_image(times[t, name], times[t, BACKBONE], images[t]) for t in tasks},
            "parameters": keras.Model(model.input, model.output).count_params(),
            "parameters_in_training": model.count_params(),
            "exported_megabytes": serving.exported_megabytes(model),
            "difference_from_the_long_form": None
            if name == BACKBONE
            else dict(zip(("loss", "outputs"), differences)),
        }
    return results


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parse_arguments(arguments)
    if args.peak_of:  # a process of its own, for `measure_memory`
        model, data = build_model(args.peak_of, args), make_data(args)
        for _ in range(2):
            train(model, data)
        return print(measuring.peak_megabytes())
    folder, machine = pathlib.Path(args.output), measuring.describe_machine()
    with mistakes_in_one_sentence():
        check_writable(folder)
        names = [SHIPPED] if args.serving else [BACKBONE, LONG, SHIPPED, BLOCKS]
        models = {name: build_model(name, args) for name in names}
    what = f"{args.batch_size} images in inference, {args.pairs_per_batch} pairs in training"
    title = (
        f"{args.backbone}, {args.image_size}×{args.image_size}, "
        f"{'one image' if args.serving else what}, {args.dtype}, "
        f"{machine['backend']}, {machine['device']}"
    )
    print(title)
    results = {"title": title, "settings": vars(args), **machine}
    if args.serving:
        results["forms"] = serving.measure_serving(models[SHIPPED], args.rounds, args.seed)
        print(serving.serving_table(results["forms"]))
        written = [write_json(folder / "serving.json", results)]
    else:
        results["models"] = measure(models, make_data(args), args)
        print(costs.cost_table(results["models"]))
        for name in (SHIPPED, BLOCKS):
            found = results["models"][name]["difference_from_the_long_form"]
            print(
                f"{name} against the long form: outputs differ by {found['outputs']:.1e}, the "
                f"training loss by {found['loss']:.1e} (relative to the largest)."
            )
        results["memory"] = {}
        if args.memory_pairs is not None:
            command = [sys.executable, __file__, *arguments]
            counts = args.memory_pairs or [args.pairs_per_batch]
            results["memory"] = measuring.measure_memory(command, names, counts)
            print(measuring.memory_table(results["memory"]))
        with mistakes_in_one_sentence():
            written = [write_json(folder / "benchmark.json", results)]
            written.append(
                costs.cost_figure(
                    results["models"], results["memory"], title, folder / "benchmark.png"
                )
            )
    print(f"{folder}/\n  {', '.join(path.name for path in written)}")


if __name__ == "__main__":
    main()
