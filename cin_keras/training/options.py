"""The options that every recipe has."""

import argparse
import sys

from cin_keras.checks import positive

# A pretrained network is fine-tuned by descent with momentum; a small one, from nothing, by AdamW.
LEARNING_RATE, SMALL_LEARNING_RATE = 0.02, 0.002


def filled(text):
    """A type for argparse: any text but none, which would mean the current folder.

    Args:
        text: Str.

    Returns:
        `text`.

    Raises:
        argparse.ArgumentTypeError: If it is empty.

    Example:

    >>> filled("pets")
    'pets'
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must not be empty ('.' is the current folder): {text!r}")
    return text


def seed(text):
    """A type for argparse: a whole number that random generators take.

    Args:
        text: Str.

    Returns:
        Int in [0, 2³²).

    Raises:
        argparse.ArgumentTypeError: If it is none.

    Example:

    >>> seed("3")
    3
    """
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**32 - 1}: {text!r}")
    return int(text)


def recipe_parser(command, what, settings, data=None, output=None, drawings=None):
    """The parser of a recipe, to which it may add options of its own.

    Args:
        command: Str, how the recipe is called, such as `"python recipes/birds.py"`, with `FOLDER`
            in it if the data set is no option.
        what: Str, what is told apart, in the plural: `"birds"`.
        settings: Dict, the defaults of `backbone`, `image_size`, `epochs` and `pairs_per_batch`.
        data: Str, help of `--data-dir`, or `None` for no such option. Defaults to `None`.
        output: Str, the default of `--output`, or `None` for one that the recipe gives, named
            after the folder of photographs. Defaults to `None`.
        drawings: Dict, likewise for drawn images, or `None`. Defaults to `None`.

    Returns:
        `argparse.ArgumentParser`. What the command line leaves open is `None` in its result,
        until `settle` fills it in.

    Example:

    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 10, "pairs_per_batch": 16}
    >>> parser = recipe_parser("python recipes/birds.py", "birds", settings)
    >>> settle(parser.parse_args(["--epochs", "3"]), settings).epochs
    3
    """
    parser = argparse.ArgumentParser(
        prog=command,
        usage=f"{command} [options]",
        description=f"Trains a Channel Interaction Network on {what}.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
    )

    def add(name, metavar=None, help=None, **kwargs):
        parser.add_argument(name, metavar=metavar, help=help, **kwargs)

    def switch(name, help):
        parser.add_argument(name, help=help, action="store_true")

    def default(key):
        return f"({settings[key]}{f'; drawn: {drawings[key]}' if drawings else ''})"

    if data:
        add("--data-dir", "DIR", data, type=filled)
    add("--backbone", "NAME", f"of Keras, or small {default('backbone')}")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet' (default), 'none' (small) or a file", type=filled)
    add("--image-size", "N", f"pixels {default('image_size')}", type=positive(int))
    add("--epochs", "N", default("epochs"), type=positive(int))
    add(
        "--pairs-per-batch",
        "N",
        f"two images each {default('pairs_per_batch')}",
        type=positive(int),
    )
    add(
        "--learning-rate",
        "R",
        f"the highest ({LEARNING_RATE}; small: {SMALL_LEARNING_RATE})",
        type=positive(float),
    )
    add("--alpha", "A", "weight of the pair loss (%(default)s)", type=float, default=2.0)
    add("--mixed-precision", "TYPE", "float16 or bfloat16", choices=["float16", "bfloat16"])
    add("--seed", "N", "of weights, order and crops (%(default)s)", type=seed, default=0)
    add("--on-error", "DO", "raise at a bad image, or skip it", choices=["raise", "skip"])
    folder = f"folder to write ({output or 'runs/ and its name'})"
    add("--output", "DIR", folder, type=filled, default=output)
    add("--limit", "N", "images of each split, for a quick try", type=positive(int))
    switch("--resume", "go on with the run in --output")
    switch("--deterministic", "on TensorFlow, the same weights bit for bit, slower")
    switch("--distribute", "on all local accelerators; PyTorch: under torchrun")
    switch("--plain", "only backbone and linear classifier, to compare")
    parser.set_defaults(on_error="raise", command=command)
    return parser


def settle(args, settings):
    """Fills in what the command line left open.

    Args:
        args: What a parser of `recipe_parser` returned; it is changed.
        settings: Dict, as for `recipe_parser`.

    Returns:
        `args`.

    Raises:
        SystemExit: If ImageNet weights are asked for where there are none, with a sentence.
    """
    for name, value in settings.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    small = args.backbone == "small"
    if args.weights is None:
        args.weights = "none" if small else "imagenet"
    elif small and args.weights == "imagenet":
        sys.exit("error: There are no ImageNet weights for --backbone small. Leave --weights out.")
    if args.learning_rate is None:
        args.learning_rate = SMALL_LEARNING_RATE if small else LEARNING_RATE
    return args
