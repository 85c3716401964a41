"""`cin-keras train FOLDER`: a model of somebody's own photographs."""

from cin_keras.cli.parser import TRAIN_SETTINGS
from cin_keras.training import Run, devices_of, mistakes_in_one_sentence
from cin_keras.training.folder import folder_samples, settle_folder


def run(args):
    """Trains, evaluates and exports, as `recipes/folder.py` does.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    with mistakes_in_one_sentence():
        args = settle_folder(args, TRAIN_SETTINGS)
    with devices_of(args) as devices:
        with mistakes_in_one_sentence():
            with devices.chief_first():
                samples = folder_samples(args)
            training = Run(args, *samples, devices)
            model = training.build_model()
        model = training.fit(model)
        training.evaluate(model)
        training.export(model)
        print(training.summary())
    return 0
