"""Trains a Channel Interaction Network on cars, evaluates it, draws what happened, exports it.

python recipes/cars.py                               drawn cars, or Stanford Cars if it is found
python recipes/cars.py --data-dir data/stanford_cars    Stanford Cars, strictly
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
import time

import keras
import numpy as np
from common import (
    check_writable,
    learning_rate_schedule,
    named_failures,
    positive,
    small_backbone,
    stop,
)

import cin_keras
from cin_keras import figures
from cin_keras.callbacks import (
    InterruptBetweenBatches,
    KeepBest,
    SaveHistory,
    SaveTrainingState,
    StopOnNonFinite,
)
from cin_keras.callbacks.whole_file import whole_file
from cin_keras.data import SetEpoch, drawn_cars, image_dataset, pair_dataset, stanford_cars
from cin_keras.evaluation import evaluate_predictions
from cin_keras.models import TRAINING_RATES
from cin_keras.optimizers import LayerwiseAdamW, LayerwiseSGD

DEFAULT_DIR = pathlib.Path("data/stanford_cars")
ENVIRONMENT_VARIABLE = "STANFORD_CARS_DIR"
# What fits the data where the command line does not say.
PHOTOGRAPHS = {
    "backbone": "resnet50",
    "image_size": 448,
    "epochs": 10,
    "pairs_per_batch": 16,
}
DRAWINGS = {
    "backbone": "small",
    "image_size": 64,
    "epochs": 20,
    "pairs_per_batch": 8,
}
# A pretrained network is fine-tuned by descent with momentum; a small one, from nothing, by AdamW.
LEARNING_RATE, SMALL_LEARNING_RATE = 0.02, 0.002
PLAIN = {"interaction": None, "contrast": None}


def parse_arguments():
    parser = argparse.ArgumentParser(
        usage="python recipes/cars.py [options]",
        description="Trains a Channel Interaction Network on cars.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
    )

    def add(name, metavar=None, help=None, **kwargs):
        parser.add_argument(name, metavar=metavar, help=help, **kwargs)

    add("--data-dir", "DIR", "Stanford Cars; without it, drawn cars if none is found")
    add("--backbone", "NAME", "in keras.applications (resnet50), or 'small' (drawn)")
    add("--feature-layer", "NAME", "layer of the backbone that interacts (the last)")
    add("--weights", "FILE", "'imagenet' (default), 'none' (small) or a file")
    add("--image-size", "N", "pixels (448; drawn: 64)", type=positive(int))
    add("--epochs", "N", "(10; drawn: 20)", type=positive(int))
    add("--pairs-per-batch", "N", "two images each (16; drawn: 8)", type=positive(int))
    add("--learning-rate", "R", "the highest (0.02; small: 0.002)", type=positive(float))
    add("--alpha", "A", "weight of the pair loss (%(default)s)", type=float, default=2.0)
    add("--mixed-precision", help="half precision", choices=["float16", "bfloat16"])
    add("--seed", "N", "of weights, order and crops (%(default)s)", type=int, default=0)
    add("--output", "DIR", "folder to write (%(default)s)", default="runs/cars")
    add("--limit", "N", "images of each split, for a quick try", type=positive(int))
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output")
    parser.add_argument(
        "--plain", action="store_true", help="only backbone and linear classifier, to compare"
    )
    return parser.parse_args()


def find_photographs(args):
    """The folder of Stanford Cars, or None: then the drawn cars serve."""
    if args.data_dir:
        return pathlib.Path(args.data_dir)
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    places = [DEFAULT_DIR] + ([pathlib.Path(named)] if named else [])
    return next((place for place in places if place.is_dir()), None)


def load_samples(folder, image_size, limit, seed):
    """Training, validation and test samples; validation is a tenth of the training photographs."""
    if folder is None:
        # Drawn somewhat larger than the network's size, as photographs are.
        size = round(image_size * 1.5)
        splits = [drawn_cars(split, image_size=size) for split in ("train", "validation", "test")]
    else:
        train, validation = stanford_cars(folder, "train").split(0.1, seed=seed)
        splits = [train, validation, stanford_cars(folder, "test")]
    return [samples.limit(limit, seed=seed) if limit else samples for samples in splits]


def build_model(args, num_classes, steps_per_epoch):
    size = args.image_size
    policy = f"mixed_{args.mixed_precision}" if args.mixed_precision else "float32"
    keras.config.set_dtype_policy(policy)
    model = cin_keras.CIN(
        num_classes,
        backbone=small_backbone(size) if args.backbone == "small" else args.backbone,
        weights=None if args.weights == "none" else args.weights,
        input_shape=(size, size, 3),
        feature_layer=args.feature_layer,
        alpha=args.alpha,
        **(PLAIN if args.plain else {}),
    )
    rate = learning_rate_schedule(args.learning_rate, args.epochs, steps_per_epoch)
    if args.backbone == "small":
        optimizer = LayerwiseAdamW(rate, rates=TRAINING_RATES)
    else:
        optimizer = LayerwiseSGD(rate, rates=TRAINING_RATES, momentum=0.9)
    model.compile(
        optimizer,
        loss=cin_keras.losses.SoftmaxCrossentropy(),
        metrics=["accuracy"],
    )
    return model


def keep_earlier_run(folder):
    """Moves the results of an earlier run aside."""
    earlier = [
        path
        for name in (
            "state.zip",
            "model.keras",
            "saved_model",
            "history.csv",
            "metrics.json",
            "*.png",
        )
        for path in folder.glob(name)
    ]
    if earlier:
        place = folder / time.strftime("earlier-%Y%m%d-%H%M%S")
        place.mkdir()
        for path in earlier:
            shutil.move(path, place / path.name)
        print(f"{folder} holds an earlier run: moved to {place}.")


def saving_callbacks(model, args, folder):
    """What writes to the folder while training, and the epoch to begin with.

    That is 0, and an earlier run is moved aside, unless `--resume` finds one to go on with.
    """
    keep_best = KeepBest(folder / "model.keras")
    history = SaveHistory(folder / "history.csv")
    settings = {key: value for key, value in vars(args).items() if key not in ("resume", "output")}
    state = SaveTrainingState(folder / "state.zip", settings, [keep_best, history])
    if args.resume and state.filepath.exists():
        first_epoch = state.restore(model)
        print(f"Going on after epoch {first_epoch} of {args.epochs}.")
        return state, keep_best, history, first_epoch
    if args.resume:
        print(f"No run to go on with in {folder}: starting one.")
    keep_earlier_run(folder)
    return state, keep_best, history, 0


def fit(model, train_data, validation_data, args, saving):
    """Trains, keeping the best model; on Ctrl-C says where it is and stops."""
    state, keep_best, history, first_epoch = saving
    try:
        with InterruptBetweenBatches() as interrupt:
            model.fit(
                train_data,
                validation_data=validation_data,
                epochs=args.epochs,
                initial_epoch=first_epoch,
                shuffle=False,  # the data set shuffles; Keras warns otherwise
                callbacks=[
                    SetEpoch(train_data),
                    StopOnNonFinite(train_data),
                    state,  # before what it keeps the state of
                    keep_best,
                    history,
                    interrupt,
                ],
            )
    except KeyboardInterrupt:
        if keep_best.best is None:
            stop("\nInterrupted before the first epoch ended: there is no model to keep.", 1)
        stop(
            f"\nInterrupted. The best model so far, of epoch {keep_best.best_epoch + 1} with "
            f"{keep_best.best:.1%} on validation images, is {keep_best.filepath}. "
            "The same command with --resume goes on."
        )
    return history.history


def write_results(model, history, train, test, args, folder, started):
    """Evaluates on the test images and writes numbers, figures and the SavedModel."""
    test_data = image_dataset(test, args.image_size, batch_size=2 * args.pairs_per_batch)
    scores = model.predict(test_data)
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    metrics = evaluate_predictions(test.labels, probabilities, test.class_names)
    metrics["data"] = str(find_photographs(args) or "drawn cars")
    metrics["settings"] = vars(args)
    metrics["seconds"] = round(time.time() - started)
    metrics["versions"] = {
        "cin_keras": cin_keras.__version__,
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        **{
            name: importlib.metadata.version(name)
            for name in ("keras", "tensorflow", "numpy", keras.backend.backend())
        },
    }
    with whole_file(folder / "metrics.json") as partial:
        partial.write_text(json.dumps(metrics, indent=2))
    figures.learning_curves(history, folder / "learning_curves.png")
    figures.confusion_matrix(
        test.labels, predicted, test.class_names, folder / "confusion_matrix.png"
    )
    figures.worst_mistakes(test, predicted, probabilities, train, folder / "worst_mistakes.png")
    if keras.backend.backend() != "torch":
        model.export(folder / "saved_model", verbose=False)
    return metrics


def settle_defaults(args, drawn):
    """Fills in what the command line left open."""
    for name, value in (DRAWINGS if drawn else PHOTOGRAPHS).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    small = args.backbone == "small"
    if args.weights is None:
        args.weights = "none" if small else "imagenet"
    elif small and args.weights == "imagenet":
        sys.exit("error: There are no ImageNet weights for --backbone small. Leave --weights out.")
    if args.learning_rate is None:
        args.learning_rate = SMALL_LEARNING_RATE if small else LEARNING_RATE


def prepare(args, photographs, folder):
    """Samples, data sets and model: everything that a mistake in the arguments can spoil."""
    keras.utils.set_random_seed(args.seed)
    check_writable(folder)
    splits = load_samples(photographs, args.image_size, args.limit, args.seed)
    for name, samples in zip(("train", "validation", "test"), splits):
        print(f"{name:>10}: {samples}")
    train, validation, _ = splits
    images_per_batch = 2 * args.pairs_per_batch
    if args.plain:
        train_data = image_dataset(
            train, args.image_size, images_per_batch, shuffle=True, augment="crop", seed=args.seed
        )
    else:
        train_data = pair_dataset(train, args.image_size, args.pairs_per_batch, seed=args.seed)
    validation_data = image_dataset(validation, args.image_size, images_per_batch)
    model = build_model(args, train.num_classes, len(train_data))
    return splits, train_data, validation_data, model, saving_callbacks(model, args, folder)


def main():
    args = parse_arguments()
    started = time.time()
    photographs = find_photographs(args)
    if photographs is None:
        named = os.environ.get(ENVIRONMENT_VARIABLE) or "not set"
        print(
            f"No Stanford Cars in {DEFAULT_DIR} nor in ${ENVIRONMENT_VARIABLE} ({named}): "
            "training on drawn cars."
        )
    settle_defaults(args, drawn=photographs is None)
    folder = pathlib.Path(args.output)
    try:
        splits, train_data, validation_data, model, saving = prepare(args, photographs, folder)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    train, _, test = splits
    with named_failures():
        history = fit(model, train_data, validation_data, args, saving)
        model = cin_keras.load_model(folder / "model.keras")
        try:
            metrics = write_results(model, history, train, test, args, folder, started)
        except KeyboardInterrupt:
            stop(f"\nInterrupted. The best model is {folder / 'model.keras'}.")

    served = "tf.saved_model.load(...).serve_uint8(images), needs TensorFlow alone"
    if keras.backend.backend() == "torch":
        served = "not on PyTorch: load model.keras with KERAS_BACKEND=tensorflow and export()"
    print(
        f"\n{metrics['accuracy']:.1%} of {len(test)} test images right "
        f"({metrics['top_5_accuracy']:.1%} within five), "
        f"{metrics['seconds']} s since this command began.\n"
        f"{folder}/\n"
        f"  model.keras            cin_keras.load_model\n"
        f"  saved_model/           {served}\n"
        f"  metrics.json           accuracy in all and per class, settings, versions\n"
        f"  history.csv            every epoch\n"
        f"  state.zip              for --resume\n"
        f"  learning_curves.png, confusion_matrix.png, worst_mistakes.png"
    )


if __name__ == "__main__":
    main()
