"""Trains a Channel Interaction Network on your own photographs: one folder a class.

python recipes/folder.py photographs
"""

import pathlib

from cin_keras.data import find_splits
from cin_keras.training import Run, devices_of, mistakes_in_one_sentence, recipe_parser, settle

SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}


def parse_arguments():
    command = "python recipes/folder.py FOLDER"
    parser = recipe_parser(command, "your own photographs", SETTINGS)
    parser.add_argument("data_dir", metavar="FOLDER", help="one folder a class, or a CSV table")
    args = settle(parser.parse_args(), SETTINGS)
    args.output = args.output or f"runs/{pathlib.Path(args.data_dir).resolve().stem}"
    return args


def load_samples(args):
    """Training, validation and test samples: the folder's own, or else held out at random.

    Which photograph is where stands in split.json beside the run, and stays so.
    """
    split_file = pathlib.Path(args.output) / "split.json"
    return find_splits(args.data_dir, seed=args.seed, split_file=split_file).values()


def main():
    with mistakes_in_one_sentence():
        args = parse_arguments()
    with devices_of(args) as devices:
        with mistakes_in_one_sentence():
            with devices.chief_first():
                samples = load_samples(args)
            run = Run(args, *samples, devices)
            model = run.build_model()
        model = run.fit(model)  # the model of the best epoch on the validation photographs
        run.evaluate(model)
        run.export(model)
        print(run.summary())


if __name__ == "__main__":
    main()
