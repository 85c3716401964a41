"""Trains a Channel Interaction Network on the 200 birds of CUB-200-2011.

python recipes/birds.py --download                        gets the photographs first, 1.2 GB
python recipes/birds.py --data-dir data/CUB_200_2011
"""

from cin_keras.data import cub_200_2011, download
from cin_keras.training import Run, devices_of, mistakes_in_one_sentence, recipe_parser, settle

DEFAULT_DIR = "data/CUB_200_2011"
SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}


def parse_arguments():
    data = f"CUB-200-2011 ({DEFAULT_DIR})"
    parser = recipe_parser("python recipes/birds.py", "birds", SETTINGS, data, "runs/birds")
    parser.add_argument("--download", action="store_true", help="get the photographs first, 1.2 GB")
    parser.set_defaults(data_dir=DEFAULT_DIR)
    return settle(parser.parse_args(), SETTINGS)


def load_samples(args):
    """Training, validation and test samples; validation is a tenth of the training photographs."""
    if args.download:
        download("cub_200_2011", args.data_dir)
    train, validation = cub_200_2011(args.data_dir, "train").split(0.1, seed=args.seed)
    return train, validation, cub_200_2011(args.data_dir, "test")


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
