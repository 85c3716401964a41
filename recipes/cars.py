"""Trains a Channel Interaction Network on cars, evaluates it, draws what happened, exports it.

python recipes/cars.py                               drawn cars, or Stanford Cars if it is found
python recipes/cars.py --data-dir data/stanford_cars    Stanford Cars, strictly
"""

import os
import pathlib

from cin_keras.data import download, drawn_cars, stanford_cars
from cin_keras.training import Run, devices_of, mistakes_in_one_sentence, recipe_parser, settle

DEFAULT_DIR = pathlib.Path("data/stanford_cars")
ENVIRONMENT_VARIABLE = "STANFORD_CARS_DIR"
PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 10, "pairs_per_batch": 16}
DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 20, "pairs_per_batch": 8}


def parse_arguments():
    data = "Stanford Cars; without it, drawn cars if none is found"
    parser = recipe_parser(
        "python recipes/cars.py", "cars", PHOTOGRAPHS, data, "runs/cars", DRAWINGS
    )
    parser.add_argument("--download", action="store_true", help="says where Stanford Cars are")
    args = parser.parse_args()
    if args.download:
        args.data_dir = download("stanford_cars", args.data_dir or DEFAULT_DIR)
    args.data_dir = args.data_dir or find_photographs()
    return settle(args, PHOTOGRAPHS if args.data_dir else DRAWINGS)


def find_photographs():
    """The folder of Stanford Cars, or None: then the drawn cars serve."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    for place in (DEFAULT_DIR, *([pathlib.Path(named)] if named else [])):
        if place.is_dir():
            return str(place)
    print(
        f"No Stanford Cars in {DEFAULT_DIR} nor in ${ENVIRONMENT_VARIABLE} "
        f"({named or 'not set'}): training on drawn cars."
    )


def load_samples(args):
    """Training, validation and test samples; validation is a tenth of the training photographs."""
    if args.data_dir:
        train, validation = stanford_cars(args.data_dir, "train").split(0.1, seed=args.seed)
        return train, validation, stanford_cars(args.data_dir, "test")
    # Drawn somewhat larger than the network's size, as photographs are.
    size = round(args.image_size * 1.5)
    return [drawn_cars(split, image_size=size) for split in ("train", "validation", "test")]


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
