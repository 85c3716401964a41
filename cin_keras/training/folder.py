"""Training on somebody's own photographs: the options, and which photograph is where."""

import pathlib

from cin_keras.training.options import recipe_parser, settle


def folder_parser(command, settings):
    """The parser of a command that trains on a folder; `settle_folder` fills in what stays open.

    Args:
        command: Str, how the command is called, such as `"python recipes/folder.py FOLDER"`.
        settings: Dict, as for `recipe_parser`.

    Returns:
        `argparse.ArgumentParser`.

    Example:

    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
    >>> parser = folder_parser("python recipes/folder.py FOLDER", settings)
    >>> settle_folder(parser.parse_args(["pets", "--seed", "1"]), settings).output
    'runs/pets'
    """
    parser = recipe_parser(command, "your own photographs", settings)
    parser.add_argument("data_dir", metavar="FOLDER", help="one folder a class, or a CSV table")
    return parser


def settle_folder(args, settings):
    """Fills in what the command line left open; the run is named after the folder.

    Args:
        args: What a parser of `folder_parser` returned; it is changed.
        settings: Dict, as for `recipe_parser`.

    Returns:
        `args`.

    Raises:
        SystemExit: As `settle`.
    """
    args.output = args.output or f"runs/{pathlib.Path(args.data_dir).resolve().stem}"
    return settle(args, settings)


def folder_samples(args):
    """Training, validation and test samples: the folder's own, or else held out at random.

    Which photograph is where stands in `split.json` beside the run, and stays so.

    Args:
        args: What `settle_folder` returned.

    Returns:
        Three `Samples`.

    Raises:
        FileNotFoundError, ValueError: As `cin_keras.data.find_splits`.
    """
    from cin_keras.data import find_splits

    split_file = pathlib.Path(args.output) / "split.json"
    return tuple(find_splits(args.data_dir, seed=args.seed, split_file=split_file).values())
