"""Trains a Channel Interaction Network on your own photographs: one folder a class.

python recipes/folder.py photographs
"""

from cin_keras.training import Run, devices_of, mistakes_in_one_sentence
from cin_keras.training.folder import folder_parser, folder_samples, settle_folder

SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}


def parse_arguments():
    parser = folder_parser("python recipes/folder.py FOLDER", SETTINGS)
    return settle_folder(parser.parse_args(), SETTINGS)


def main():
    with mistakes_in_one_sentence():
        args = parse_arguments()
    with devices_of(args) as devices:
        with mistakes_in_one_sentence():
            with devices.chief_first():
                samples = folder_samples(args)
            run = Run(args, *samples, devices)
            model = run.build_model()
        model = run.fit(model)  # the model of the best epoch on the validation photographs
        run.evaluate(model)
        run.export(model)
        print(run.summary())


if __name__ == "__main__":
    main()
