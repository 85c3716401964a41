"""The options that every recipe has."""

import argparse
import sys

from cin_keras.checks import positive

# A pretrained network is fine-tuned by descent with momentum; a small one, from nothing, by AdamW.
LEARNING_RATE, SMALL_LEARNING_RATE = 0.02, 0.002
# Decoupled, as in Keras: PyTorch's 5e-4 with a momentum of 0.9. The small one's is AdamW's own.
WEIGHT_DECAY, SMALL_WEIGHT_DECAY = 5e-3, 4e-3
LABEL_SMOOTHING = 0.1
ALPHA = 2.0
RECIPES = {
    "strong": {
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "label_smoothing": LABEL_SMOOTHING,
    },
    # Of the paper and, where it is silent, of its one public implementation, whose decay of 2e-4
    # is PyTorch's. A batch is 4 classes × 5 images.
    "paper": {
        "learning_rate": 0.01,
        "weight_decay": 2e-3,
        "label_smoothing": 0.0,
        "epochs": 100,
        "pairs_per_batch": 10,
    },
}
PAPER_CLASSES_PER_BATCH = 4
# What stands between backbone and classifier, and what is learned from pairs: arguments of CIN.
HEADS = {
    "contrast": {"interaction": None, "contrast": "embedding"},
    "cin": {},
    "sci": {"contrast": None},
    "covariance": {"interaction": "covariance", "contrast": None, "projection_dim": 64},
    "mean_and_deviation": {"interaction": "mean_and_deviation", "contrast": None},
    "plain": {"interaction": None, "contrast": None},
}
# What measured best at the cost of the backbone (recipes/README.md, "ablation").
DEFAULT_HEAD = {"strong": "contrast", "paper": "cin"}
WARMUP_EPOCHS = {"strong": 0.5, "paper": 5}


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
        raise argparse.ArgumentTypeError(
            f"must not be empty; '.' is the current folder, if you mean it: {text!r}"
        )
    return text


def whole(most=None):
    """A type for argparse: a whole number of at least 0.

    Args:
        most: Int, the largest that will do, or `None` for any. Defaults to `None`.

    Returns:
        Function of a str that returns an int, and raises `argparse.ArgumentTypeError` for another.

    Example:

    >>> whole(most=65535)("7860")
    7860
    """
    expected = "of at least 0" if most is None else f"from 0 to {most}"

    def number_of(text):
        if not text.isdecimal() or most is not None and int(text) > most:
            raise argparse.ArgumentTypeError(f"must be a whole number {expected}: {text!r}")
        return int(text)

    return number_of


def share(with_one=False):
    """A type for argparse: a number from 0 to 1.

    Args:
        with_one: Bool, whether 1 will do. Defaults to `False`.

    Returns:
        Function of a str that returns a float, and raises `argparse.ArgumentTypeError` for another.

    Example:

    >>> share()("0.1")
    0.1
    """
    expected = "to 1" if with_one else "to less than 1"

    def number_of(text):
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1 or number == 1 and not with_one:
            raise argparse.ArgumentTypeError(f"must be a number from 0 {expected}: {text!r}")
        return number

    return number_of


class Parser(argparse.ArgumentParser):
    """A parser of `argparse` whose help is 80 columns wide, and that takes an option in a line.

    Example:

    >>> parser = Parser(prog="sort")
    >>> parser.add("--top", "N", "how many (%(default)s)", type=positive(int), default=3)
    >>> parser.switch("--json", "as JSON")
    >>> vars(parser.parse_args(["--json"]))
    {'top': 3, 'json': True}
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, formatter_class=_help_formatter)

    def add(self, name, metavar=None, help=None, type=filled, **kwargs):
        """As `add_argument`, of text that is not empty, unless `type` says another."""
        self.add_argument(name, metavar=metavar, help=help, type=type, **kwargs)

    def switch(self, name, help):
        """Adds an option without a value: `True` where it is given, else `False`."""
        self.add_argument(name, help=help, action="store_true")


def _help_formatter(prog):
    return argparse.HelpFormatter(prog, max_help_position=26, width=80)


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
        `Parser`. What the command line leaves open is `None` in its result, until `settle` fills
        it in.

    Example:

    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 10, "pairs_per_batch": 16}
    >>> parser = recipe_parser("python recipes/birds.py", "birds", settings)
    >>> settle(parser.parse_args(["--epochs", "3"]), settings).epochs
    3
    """
    parser = Parser(
        prog=command,
        usage=f"{command} [options]",
        description=f"Trains a Channel Interaction Network on {what}.",
    )
    add, switch = parser.add, parser.switch

    def default(key):
        return f"({settings[key]}{f'; drawn: {drawings[key]}' if drawings else ''})"

    if data:
        add("--data-dir", "DIR", data)
    add("--backbone", "NAME", f"of Keras, or small {default('backbone')}")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet' (default), 'none' (small) or a file")
    add("--image-size", "N", f"pixels {default('image_size')}", type=positive(int))
    add("--epochs", "N", default("epochs"), type=positive(int))
    add("--pairs-per-batch", "N", f"two images each {default('pairs_per_batch')}", type=positive(int))
    rate = f"the highest ({LEARNING_RATE}, covariance: half; small: {SMALL_LEARNING_RATE}; paper: 0.01)"
    add("--learning-rate", "R", rate, type=positive(float))
    add("--recipe", "NAME", "strong (default), or paper: its settings", choices=RECIPES)
    decay = f"of kernels ({WEIGHT_DECAY:g}; small: {SMALL_WEIGHT_DECAY:g}; paper: 0.002)"
    add("--weight-decay", "W", decay, type=share())
    smoothing = f"share spread over all classes ({LABEL_SMOOTHING}; paper: 0)"
    add("--label-smoothing", "S", smoothing, type=share())
    add("--classes-per-batch", "N", "draw each batch from N classes (any; paper: 4)", type=positive(int))
    mixing = parser.add_mutually_exclusive_group()
    for name, what in (("--mixup", "blend"), ("--cutmix", "patch")):
        mixing.add_argument(name, help=f"{what} photographs with others", action="store_true")
    switch("--ema", "use the moving average of the weights")
    add("--alpha", "A", "weight of the pair loss, if there is one (%(default)s)", type=float, default=ALPHA)
    add("--mixed-precision", "TYPE", "float16 or bfloat16", choices=["float16", "bfloat16"])
    of_what = "of weights, order and crops (%(default)s)"
    add("--seed", "N", of_what, type=whole(most=2**32 - 1), default=0)
    add("--on-error", "DO", "raise at a bad image, or skip it", choices=["raise", "skip"])
    folder = f"folder to write ({output or 'runs/ and its name'})"
    add("--output", "DIR", folder, default=output)
    add("--limit", "N", "images of each split, for a quick try", type=positive(int))
    switch("--resume", "go on with the run in --output")
    switch("--deterministic", "on TensorFlow, the same weights bit for bit, slower")
    everywhere = "on all local accelerators, or all processes of a launcher; PyTorch: under torchrun"
    switch("--distribute", everywhere)
    switch("--tensorboard", "log to tensorboard/ in --output")
    heads = "contrast (default; small, paper, explain: cin), cin, sci, covariance, mean_and_deviation or plain"
    add("--head", "NAME", heads, choices=HEADS)
    switch("--plain", "as --head plain")
    parser.set_defaults(on_error="raise", recipe="strong", command=command)
    return parser


def measuring_parser(command, description, output, **kwargs):
    """A parser with the option `--output`.

    Args:
        command: Str, how the recipe is called, such as `"python recipes/probe.py"`.
        description: Str.
        output: Str, the folder that is written if none is given.
        **kwargs: Other arguments of `argparse.ArgumentParser`.

    Returns:
        `Parser`.

    Example:

    >>> parser = measuring_parser("python recipes/probe.py", "Probes.", "runs/probe")
    >>> parser.add("--seed", "N", "of the halves (%(default)s)", type=int, default=0)
    >>> vars(parser.parse_args(["--seed", "3"]))
    {'output': 'runs/probe', 'seed': 3}
    """
    usage = f"{command} [options]"
    parser = Parser(prog=command, usage=usage, description=description, **kwargs)
    parser.add("--output", "DIR", "folder to write (%(default)s)", default=output)
    return parser


def settle(args, settings):
    """Fills in what the command line left open.

    Args:
        args: What a parser of `recipe_parser` returned; it is changed.
        settings: Dict, as for `recipe_parser`.

    Returns:
        `args`.

    Raises:
        SystemExit: If ImageNet weights are asked for where there are none, or options exclude each
            other, with a sentence.
    """
    if args.plain and args.head not in (None, "plain"):
        sys.exit(
            f"error: --plain is --head plain: leave one of the two out. Received: --head {args.head}"
        )
    small = (args.backbone or settings["backbone"]) == "small"
    usual = "cin" if small else DEFAULT_HEAD[args.recipe]  # drawn cars: 99.6 against 98.3 %
    args.head = args.head or ("plain" if args.plain else usual)
    args.plain = args.head == "plain"
    if args.plain and args.classes_per_batch is not None:
        sys.exit("error: --classes-per-batch is for pairs, and no head learns from single images.")
    if args.alpha != ALPHA and HEADS[args.head].get("contrast", "cci") is None:
        sys.exit(
            "error: --alpha weighs the pair loss, which --head contrast and cin have: leave it out "
            f"or take one of these. Received: --alpha {args.alpha} with the head {args.head}"
        )
    recipe = dict(RECIPES[args.recipe])
    if args.head == "covariance" and args.recipe == "strong":
        recipe["learning_rate"] /= 2  # where it measured best
    if small:  # by AdamW
        recipe |= {"learning_rate": SMALL_LEARNING_RATE, "weight_decay": SMALL_WEIGHT_DECAY}
    of_the_paper = args.pairs_per_batch in (None, RECIPES["paper"]["pairs_per_batch"])
    if args.recipe == "paper" and of_the_paper and not args.plain:
        args.classes_per_batch = args.classes_per_batch or PAPER_CLASSES_PER_BATCH
    for name, value in {**settings, **recipe}.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    mixing = [f"--{name}" for name in ("mixup", "cutmix") if getattr(args, name)]
    if mixing and args.pairs_per_batch == 1 and not args.plain:
        sys.exit(
            f"error: {mixing[0]} mixes the pairs of a batch with each other: give "
            "--pairs-per-batch 2 or more. Received: --pairs-per-batch 1"
        )
    args.weights = choose_weights(args.backbone, args.weights)
    return args


def choose_weights(backbone, weights):
    """The weights of a backbone where `--weights` is left out; SystemExit if it has none of that name.

    Args:
        backbone: Str.
        weights: Str, or `None` for `"imagenet"`, or `"none"` of the small network.

    Returns:
        Str.

    Example:

    >>> choose_weights("small", None), choose_weights("resnet50", None)
    ('none', 'imagenet')
    """
    if backbone == "small" and weights == "imagenet":
        sys.exit("error: There are no ImageNet weights for --backbone small. Leave --weights out.")
    return weights or ("none" if backbone == "small" else "imagenet")


def refuse_beside_model(args, names):
    """Raises ValueError if `--model` is given with what only a network that is to be made can have.

    Args:
        args: What a parser returned, with `model` and all `names`, which are `None` if left out.
        names: Sequence of str.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if args.model and given:
        raise ValueError(
            f"--model has a network and its weights already: leave {', '.join(given)} out, or leave "
            f"--model out. Received: --model {args.model}"
        )
