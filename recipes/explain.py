"""Draws what a Channel Interaction Network looks at, and scores whether that is the right thing.

python recipes/explain.py                                  trains on drawn cars, then explains
python recipes/explain.py --model runs/cars/model.keras    a model of the same drawn cars
python recipes/explain.py --data-dir data/CUB_200_2011 --model runs/birds/model.keras
"""

import pathlib
import sys

import numpy as np

import cin_keras
from cin_keras import explain
from cin_keras.data import (
    cub_200_2011,
    differing_parts,
    drawn_cars,
    image_dataset,
    pair_dataset,
)
from cin_keras.files import check_writable, write_json, write_text
from cin_keras.measuring.explanations import (
    Targets,
    read_images,
    score_figure,
    score_maps,
    score_table,
    summarize_scores,
)
from cin_keras.training import (
    make_optimizer,
    mistakes_in_one_sentence,
    network_options,
    open_run,
    recipe_parser,
    set_seed,
    settle,
    single_images,
)
from cin_keras.versions import versions

DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 15, "pairs_per_batch": 8}
PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
# Maps of 8×8: of the 4×4 that the last block gives, no cell is as small as a lamp.
DRAWINGS_FEATURE_LAYER = "block_4"
DRAWN_SIZE = 1.5  # drawn somewhat larger than the network's size, as photographs are
PART_RADIUS = 0.1  # of the larger side of the bird's box
STEPS = 8  # of deletion and insertion


def parse_arguments(arguments=None):
    parser = recipe_parser(
        "python recipes/explain.py",
        "drawn cars or birds, if there is none yet, and explains it",
        PHOTOGRAPHS,
        "CUB-200-2011, with its parts (drawn cars)",
        "runs/explain",
        DRAWINGS,
    )
    parser.add_argument("--model", metavar="FILE", help="a trained model (one is trained)")
    args = parser.parse_args(arguments)
    training = ("backbone", "feature_layer", "weights", "image_size", "epochs", "learning_rate")
    given = [f"--{name.replace('_', '-')}" for name in training if getattr(args, name) is not None]
    if args.model and given:
        raise ValueError(
            f"--model is a model that has been trained; leave {', '.join(given)} out, or leave "
            "--model out to train one."
        )
    settle(args, PHOTOGRAPHS if args.data_dir else DRAWINGS)
    if args.backbone == "small" and args.feature_layer is None:
        args.feature_layer = DRAWINGS_FEATURE_LAYER
    return args


def load_samples(args, image_size):
    """Training, validation and test samples, all with parts."""
    if args.data_dir is None:
        size = round(image_size * DRAWN_SIZE)
        return [drawn_cars(split, image_size=size) for split in ("train", "validation", "test")]
    train, validation = cub_200_2011(args.data_dir, "train").split(0.1, seed=args.seed)
    test = cub_200_2011(args.data_dir, "test")
    if test.parts is None:
        raise ValueError(
            f"The scores need to know where the birds' parts are. Received: {args.data_dir}, "
            "which has no folder parts/ with parts.txt and part_locs.txt"
        )
    return train, validation, test


def first_of_each(samples):
    """Where the first image of each class stands; the contrast of a pair shows one of them."""
    missing = sorted(set(range(samples.num_classes)) - set(samples.labels.tolist()))
    if missing:
        raise ValueError(
            f"There is no training image of {samples.class_names[missing[0]]!r}, and the maps show "
            "one of each class. Give the whole data set, or a larger --limit."
        )
    return [np.flatnonzero(samples.labels == label)[0] for label in range(samples.num_classes)]


def train_model(args):
    """A model trained as the recipes do, and the training and test samples."""
    with open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            samples = load_samples(args, args.image_size)
        train, validation, test = run.check_samples(*samples, args.limit, args.on_error)
        first_of_each(train)
        size, batch = args.image_size, run.devices.local_batch(args.pairs_per_batch)
        reading = {"on_error": args.on_error, "shard": run.devices.shard}
        if args.plain:  # to compare: a linear classifier, which learns from single images
            pairs = single_images(run.devices, train, size, 2 * batch, seed=args.seed, **reading)
        else:
            pairs = pair_dataset(train, size, batch, seed=args.seed, split_batches=True, **reading)
        validation_data = image_dataset(validation, size, 2 * batch, **reading)
        set_seed(args.seed, args.deterministic)
        model = cin_keras.CIN(
            train.num_classes,
            input_shape=(size, size, 3),
            class_names=list(train.class_names),
            settings=run.settings,
            **network_options(args),
        )
        optimizer = make_optimizer(args.learning_rate, args.epochs, len(pairs), args.backbone)
        loss = cin_keras.losses.SoftmaxCrossentropy()
        model.compile(optimizer, loss, weighted_metrics=["accuracy"])
        model.fit(
            pairs,
            validation_data=run.devices.evaluation_data(validation_data),
            epochs=args.epochs,
            initial_epoch=run.first_epoch(model),
            callbacks=run.callbacks(pairs, validation_data),
            shuffle=False,
        )
        model = run.best_model(model)
        if not run.devices.is_chief:  # it alone explains
            sys.exit()
        return model, train, test


def load_model(args):
    """The model that is there already, and the training and test samples."""
    check_writable(pathlib.Path(args.output))
    model = cin_keras.load_model(args.model)
    args.image_size = model.input_shape[1] or args.image_size
    train, _, test = load_samples(args, args.image_size)
    if model.num_classes != test.num_classes:
        raise ValueError(
            f"{args.model} tells {model.num_classes} classes apart, but the images have "
            f"{test.num_classes}: {args.data_dir or 'drawn cars'}. Give the data that it was "
            "trained on."
        )
    return model, train, test.limit(args.limit, seed=args.seed) if args.limit else test


def draw(model, test, references, folder):
    """The four figures, as far as the model has what they show."""
    first = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)]
    chosen = first[:: max(len(first) // 4, 1)][:4]
    pictures = read_images(test, chosen, references.shape[1:3])
    names, labels = test.class_names, test.labels[chosen]
    path = folder / "class_contrast.png"
    written = [explain.class_contrast_figure(model, pictures, path, None, None, names, labels)]
    if model.interaction_name in ("sci", "pos_sci"):
        written.append(explain.channel_figure(model, pictures[0], folder / "channel.png"))
        written.append(explain.ranking_figure(model, pictures[0], folder / "ranking.png"))
    if model.contrast is not None:
        # The classes that come next, in the model's own opinion.
        logits = explain.class_contrast(model, pictures[0]).logits[0]
        likely = [other for other in np.argsort(-logits) if other != labels[0]][:3]
        shown = [names[labels[0]], *(names[other] for other in likely)]
        path = folder / "pair_contrast.png"
        others = references[likely]
        written.append(explain.pair_contrast_figure(model, pictures[0], others, path, shown))
    return written


def main(arguments=None):
    with mistakes_in_one_sentence():
        args = parse_arguments(arguments)
        found = load_model(args) if args.model else None
    model, train, test = found or train_model(args)
    with mistakes_in_one_sentence():
        folder, drawn = pathlib.Path(args.output), args.data_dir is None
        size = [side or args.image_size for side in model.input_shape[1:3]]
        references = read_images(train, first_of_each(train), size)
        written = draw(model, test, references, folder)
        print(f"Scoring {test}")
        targets = Targets(test, PART_RADIUS, differing_parts if drawn else None)
        arrays, chance = score_maps(model, test, targets, references, STEPS, args.seed)
        summary = summarize_scores(arrays, chance)
        what = ("a differing part", "car") if drawn else ("an annotated part", "bird")
        table = score_table(summary, *what)
        settings = {"settings": vars(args), "versions": versions()}
        write_json(folder / "scores.json", {**summary, **settings})
        write_text(folder / "scores.md", table)
        written.append(score_figure(arrays, summary, folder / "scores.png"))
    names = ", ".join(path.name for path in written)
    print(f"\n{table}\n{folder}/\n  scores.json, scores.md\n  {names}")


if __name__ == "__main__":
    main()
