"""Training on somebody's own photographs: the options, and which photograph is where."""

import dataclasses
import pathlib

from cin_keras.checks import positive
from cin_keras.training.options import recipe_parser, settle


def folder_parser(command, settings):
    """The parser of a command that trains on a folder; `settle_folder` fills in what stays open.

    Args:
        command: Str, how the command is called, such as `"python recipes/folder.py FOLDER"`.
        settings: Dict, as for `recipe_parser`.

    Returns:
        `cin_keras.training.options.Parser`.

    Example:

    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
    >>> parser = folder_parser("python recipes/folder.py FOLDER", settings)
    >>> settle_folder(parser.parse_args(["pets", "--seed", "1"]), settings).output
    'runs/pets'
    """
    parser = recipe_parser(command, "your own photographs", settings)
    parser.add("data_dir", "FOLDER", "one folder a class, a CSV table, or shards")
    parser.add("--split-file", "FILE", "split.json of a run, to split as it did")
    add_table_options(parser)
    parser.add(
        "--max-pixels", "N", "larger photographs cannot be read (178956970)", type=positive(int)
    )
    return parser


def add_table_options(parser):
    """Adds to a parser the options that say how a CSV table is to be read."""
    for name, metavar, help in (
        ("--path-column", "NAME", "of a table: column of the photographs (path)"),
        ("--label-column", "NAME", "of a table: column of the classes (label)"),
        ("--split-column", "NAME", "of a table: column of train, val and test (split)"),
        ("--delimiter", "C", "of a table: what parts its cells (, ; | or a tab, as it has)"),
        ("--class-names", "FILE", "of a table: its classes in their order, a line each"),
        ("--levels", "NAMES", "of nested folders: make,model for make/model/; of a table: columns"),
    ):
        parser.add(name, metavar, help)


def table_options(args):
    """What `add_table_options` has read, as arguments of `cin_keras.data.find_splits`.

    Raises:
        ValueError: If the file of class names is no text.
        FileNotFoundError: If it is not there.
    """
    options = {
        name: getattr(args, name)
        for name in ("path_column", "label_column", "split_column", "delimiter")
        if getattr(args, name) is not None
    }
    if args.levels is not None:
        options["levels"] = [name.strip() for name in args.levels.split(",")]
    if options.get("delimiter") == "\\t":  # as a shell passes on what is typed
        options["delimiter"] = "\t"
    if args.class_names is not None:
        from cin_keras.data.loaders.listings import read_lines

        options["class_names"] = read_lines(args.class_names)
    return options


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
    args.output = args.output or f"runs/{data_name(args.data_dir)}"
    return settle(args, settings)


def data_name(data_dir):
    """What a data set is called: its folder's name, or its table's without the ending.

    Args:
        data_dir: Str or path.

    Returns:
        Str.

    Example:

    >>> data_name("photographs/shop.v2/")
    'shop.v2'
    """
    data = pathlib.Path(data_dir).resolve()
    return data.stem if data.is_file() else data.name


def folder_samples(args, run):
    """Training, validation and test samples: the folder's own, or else held out at random.

    Which photograph is where is written to `split.json` in the run's folder. A run that goes on
    reads it; every other run splits the folder anew, as `args.seed` has it, or as the file
    `args.split_file` does.

    Args:
        args: What `settle_folder` returned.
        run: `RunFolder`.

    Returns:
        Three `Samples`.

    Raises:
        FileNotFoundError, ValueError: As `cin_keras.data.find_splits`, and if a run that is to go
            on was on other photographs.
    """
    from cin_keras.data import find_splits, save_split
    from cin_keras.data.splits import check_parts, read_split

    own_file = run.path / "split.json"
    goes_on = run.resumes and own_file.exists()
    split_file = own_file if goes_on else args.split_file
    if args.split_file and not pathlib.Path(args.split_file).is_file():
        raise FileNotFoundError(f"There is no such file. Received: split_file={args.split_file!r}")
    if goes_on and args.split_file and read_split(args.split_file) != read_split(own_file):
        raise ValueError(
            f"A run goes on with the split that it began with, {own_file}: leave `split_file` out. "
            f"Received: split_file={args.split_file!r}, which says otherwise"
        )
    try:
        options = table_options(args)
        parts = find_splits(args.data_dir, seed=args.seed, split_file=split_file, **options)
        check_parts(parts, ("train", "val", "test"), split_file)
    except (FileNotFoundError, ValueError) as error:
        if not goes_on:
            raise
        raise ValueError(
            f"{error} Or leave --resume out, for a new run with a split of its own."
        ) from error
    if goes_on:
        # The folder may hold more by now, of which a new split would take its part.
        run.asked["split_file"] = str(own_file)
    root = pathlib.Path(args.data_dir)
    root = root.parent if root.is_file() else root
    about = {"data": args.data_dir}
    about |= {"split_file": args.split_file} if args.split_file else {"seed": args.seed}
    if not goes_on:  # whose file says how it was made
        run.when_begun = lambda: save_split(own_file, parts, root, about)
    if args.max_pixels is None:
        return tuple(parts.values())
    return tuple(dataclasses.replace(part, max_pixels=args.max_pixels) for part in parts.values())
