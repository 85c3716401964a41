"""Training on a data set that everybody knows: the options, and where its photographs are."""

import os

from cin_keras.training.options import recipe_parser, settle


def data_set_parser(recipe, data, places, size, settings, drawings=None, what=None):
    """The parser of a recipe for one data set; `settle_data_set` fills in what stays open.

    Args:
        recipe: Str, the name of the script: `"birds"`.
        data: Str, what the data set is called: `"CUB-200-2011"`.
        places: Sequence of str, folders where it may lie; one that begins with `$` is in the
            environment. The first is where a download goes to.
        size: Str, of the download: `"1.2 GB"`.
        settings: Dict, as for `recipe_parser`.
        drawings: Dict, settings for drawings, which are trained on where none of the places is
            there, or `None`: then the first has to be. Defaults to `None`.
        what: Str, what the photographs show. Defaults to `None`, the name of the script.

    Returns:
        `cin_keras.training.options.Parser`.

    Example:

    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
    >>> parser = data_set_parser("birds", "CUB-200-2011", ["data/CUB"], "1.2 GB", settings)
    >>> args = settle_data_set(parser.parse_args(["--seed", "1"]), settings)
    >>> args.data_dir, args.output, args.epochs
    ('data/CUB', 'runs/birds', 20)
    """
    what = what or recipe
    drawn = f"drawn {what}" if drawings else None
    where = f"{data}; without it, {drawn} if none is found" if drawn else f"{data} ({places[0]})"
    command = f"python recipes/{recipe}.py"
    parser = recipe_parser(command, what, settings, where, f"runs/{recipe}", drawings)
    parser.switch("--download", f"get the photographs first, {size}")
    parser.set_defaults(data_set=(data, places, drawn))  # for `settle_data_set`, which takes it out
    return parser


def settle_data_set(args, settings, drawings=None):
    """Fills in what the command line left open: where the photographs are, and the settings.

    Args:
        args: What a parser of `data_set_parser` returned; it is changed. Its `data_dir` stays
            `None` where drawings are to be trained on.
        settings: As for `data_set_parser`.
        drawings: As for `data_set_parser`. Defaults to `None`.

    Returns:
        `args`.

    Raises:
        SystemExit: As `settle`.
    """
    data, places, drawn = vars(args).pop("data_set")
    if args.data_dir is None:
        there = filter(os.path.isdir, map(os.path.expandvars, places))
        args.data_dir = next(there, None) if drawn and not args.download else places[0]
    if args.data_dir is None and is_first_process():
        looked = " nor in ".join(map(_in_words, places))
        print(f"No {data} in {looked}: training on {drawn}.")
    return settle(args, settings if args.data_dir else drawings)


def drawn_samples(image_size):
    """Training, validation and test drawings of cars, for where there are no photographs.

    Args:
        image_size: Int, pixels of the network's images. The drawings are half as large again,
            as photographs are larger, too.

    Returns:
        Three `Samples`.

    Example:

    >>> train, validation, test = drawn_samples(32)
    >>> len(train), test.read(0).size
    (1440, (48, 48))
    """
    from cin_keras.data import drawn_cars  # the command line answers --help without it

    size = round(1.5 * image_size)
    return [drawn_cars(split, image_size=size) for split in ("train", "validation", "test")]


def is_first_process():
    """Whether this process speaks: of several, the first of torchrun, Keras, Slurm or Open MPI."""
    names = ("RANK", "KERAS_DISTRIBUTION_PROCESS_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def _in_words(place):
    if not place.startswith("$"):
        return place
    return f"{place} ({os.environ.get(place[1:]) or 'not set'})"
