"""Trains on half of the classes of cars and adds the other half to a gallery, without training.

python recipes/gallery.py               Stanford Cars if found, or in --data-dir; else drawn cars
python recipes/gallery.py --download    gets the photographs first, 1.9 GB
"""

import pathlib
import sys

import numpy as np
from cars import DRAWINGS, PHOTOGRAPHS, PLACES, load_samples

import cin_keras
from cin_keras import training
from cin_keras.data import image_dataset, pair_dataset
from cin_keras.evaluation import calibrated
from cin_keras.files import write_text
from cin_keras.measuring import new_classes
from cin_keras.measuring.networks import freeze_to
from cin_keras.measuring.rounds import seconds
from cin_keras.streams import tidy_streams
from cin_keras.training.data_set import data_set_parser, settle_data_set
from cin_keras.training.failures import accidents_in_one_sentence
from cin_keras.training.photographs import only_readable


def train_on(samples, args, output):
    """A model of the classes of these samples, and what `metrics.json` says of it."""
    with training.open_run(output, vars(args), args.resume) as run:
        train, validation, test = run.check_samples(*samples)
        size, batch = args.image_size, args.pairs_per_batch
        reading = {"seed": args.seed, "on_error": args.on_error, "shard": None}
        if args.plain:
            pairs = training.single_images(run.devices, train, size, 2 * batch, **reading)
        else:
            pairs = pair_dataset(
                train, size, batch, classes_per_batch=args.classes_per_batch, **reading
            )
        pairs = training.mix(args, pairs, train.num_classes)
        validation_data = image_dataset(validation, size, 2 * batch, **reading)

        training.set_seed(args.seed, args.deterministic)
        options = training.network_options(args, train)
        model = cin_keras.CIN(train.num_classes, settings=run.settings, **options)
        freeze_to(model.backbone, args.freeze_to)
        rates = training.optimizer_options(args)
        optimizer = training.make_optimizer(steps_per_epoch=len(pairs), **rates)
        loss = cin_keras.losses.SoftmaxCrossentropy(label_smoothing=args.label_smoothing)
        model.compile(optimizer, loss, weighted_metrics=[cin_keras.metrics.accuracy])
        model.fit(
            pairs,
            validation_data=validation_data,
            epochs=args.epochs,
            initial_epoch=run.first_epoch(model),
            callbacks=run.callbacks(pairs, validation_data),
            shuffle=False,
        )
        model = run.best_model(model)
        return model, run.evaluate(model, image_dataset(test, size, 2 * batch, **reading))


@tidy_streams()
def main(args):
    with training.mistakes_in_one_sentence(vars(args)):
        samples = load_samples(args)
        if args.limit:  # of all classes together, before they are halved
            samples = [part.limit(args.limit, seed=args.seed) for part in samples]
        # The other half, too, before the first is trained.
        samples = [only_readable("given", part, args.on_error) for part in samples]
        names = samples[0].class_names
        half, others = ([p.filter(names[i::2]) for p in samples] for i in (0, 1))
    model, _ = train_on(half, args, f"{args.output}/half")
    with training.mistakes_in_one_sentence(), accidents_in_one_sentence():
        show = ask_gallery(model, half, others, args)
    _, metrics = train_on(samples, args, f"{args.output}/all")
    show(metrics["accuracy"])


def ask_gallery(model, half, others, args):
    """What a gallery knows of new classes, shown, and shown again by the function returned."""
    (train, validation, test), (new_train, _, new_test) = half, others
    gallery = cin_keras.Gallery(model, train)
    # Embeddings of the test photographs, which every question below is about.
    known, new = gallery.embed(test), gallery.embed(new_test)

    # None of these, while the new classes are unknown: by the gallery, and by the classifier.
    print(gallery.calibrate(validation))
    probabilities = (
        calibrated(model.predict(images, verbose=0), model.temperature)
        for images in (image_dataset(each, args.image_size) for each in (test, new_test))
    )
    none_of_these = new_classes.none_of_these_table(
        {
            "class means": [gallery.classify(each).similarities for each in (known, new)],
            "classifier": [each.max(axis=1) for each in probabilities],
        }
    )

    # The new classes, without training.
    gallery.threshold = None
    names = ([part.class_names[label] for label in part.labels] for part in (test, new_test))
    questions = list(zip((known, new), names))
    rows, to_add = new_classes.add_few_to_all(gallery, new_train, questions, seed=args.seed)
    to_search = seconds(gallery.search, np.concatenate([known, new]), 10) / (len(known) + len(new))
    speed = f"add: {1000 * to_add:.0f} ms a photograph; search: {1000 * to_search:.2f} ms a question."

    def show(of_all=None):
        table = new_classes.new_classes_table(rows, of_all)
        text = f"{none_of_these}\n\n{table}\n\n{gallery!r}; {speed}"
        print(text, flush=True)
        write_text(pathlib.Path(args.output) / "gallery.md", f"{text}\n")

    show()  # what there is, should the next not be waited for
    return show


def build_parser(places=PLACES):
    parser = data_set_parser(
        "gallery", "Stanford Cars", places, "1.9 GB", PHOTOGRAPHS, DRAWINGS, what="cars"
    )
    frozen = "the last layer of the backbone that is not trained (none)"
    parser.add_argument("--freeze-to", metavar="NAME", help=frozen)
    return parser


if __name__ == "__main__":
    args = build_parser().parse_args()
    if args.distribute:
        sys.exit("error: This recipe is for one device. Leave --distribute out.")
    main(settle_data_set(args, PHOTOGRAPHS, DRAWINGS))
