"""Trains a Channel Interaction Network on FGVC-Aircraft: variants, families or manufacturers.

python recipes/aircraft.py --download                     gets the photographs first, 2.8 GB
python recipes/aircraft.py --data-dir data/fgvc-aircraft-2013b --level family
"""

from cin_keras.data import download, fgvc_aircraft
from cin_keras.training import Run, devices_of, mistakes_in_one_sentence, recipe_parser, settle

DEFAULT_DIR = "data/fgvc-aircraft-2013b"
LEVELS = ("variant", "family", "manufacturer")
SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}


def parse_arguments():
    data = f"FGVC-Aircraft ({DEFAULT_DIR})"
    parser = recipe_parser(
        "python recipes/aircraft.py", "aircraft", SETTINGS, data, "runs/aircraft"
    )
    parser.add_argument("--level", choices=LEVELS, metavar="L", help=", ".join(LEVELS))
    parser.add_argument("--download", action="store_true", help="get the photographs first, 2.8 GB")
    parser.set_defaults(data_dir=DEFAULT_DIR, level="variant")
    return settle(parser.parse_args(), SETTINGS)


def load_samples(args):
    """Training, validation and test samples, as the data set divides itself."""
    if args.download:
        download("fgvc_aircraft", args.data_dir)
    return [fgvc_aircraft(args.data_dir, part, args.level) for part in ("train", "val", "test")]


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
