"""Trains on half of the classes of cars and adds the other half to a gallery, without training.

python recipes/gallery.py               Stanford Cars if found, or in --data-dir; else drawn cars
python recipes/gallery.py --download    gets the photographs first, 1.9 GB
"""

import pathlib
import sys
import time

import numpy as np

import cin_keras
from cin_keras import training
from cin_keras.data import download, image_dataset, pair_dataset, stanford_cars
from cin_keras.evaluation import calibrated
from cin_keras.files import write_text
from cin_keras.gallery.calibration import auroc, false_alarms_at_recall
from cin_keras.measuring.networks import freeze_to
from cin_keras.training.data_set import data_set_parser, drawn_samples, settle_data_set

PLACES = ["data/stanford_cars", "$STANFORD_CARS_DIR"]
PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 30, "pairs_per_batch": 16}
DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 20, "pairs_per_batch": 8}


def load_samples(args):
    if args.download:
        download("stanford_cars", args.data_dir)
    if args.data_dir is None:
        return drawn_samples(args.image_size)
    train, validation = stanford_cars(args.data_dir, "train").split(0.1, seed=args.seed)
    return train, validation, stanford_cars(args.data_dir, "test")


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


def main(args):
    samples = load_samples(args)
    if args.limit:  # of all classes together, before they are halved
        samples = [part.limit(args.limit, seed=args.seed) for part in samples]
        args.limit = None
    names = samples[0].class_names
    train, validation, test = (part.filter(names[::2]) for part in samples)
    new_train, _, new_test = (part.filter(names[1::2]) for part in samples)
    model, _ = train_on([train, validation, test], args, f"{args.output}/half")

    gallery = cin_keras.Gallery(model, train)
    # Embeddings of the test photographs, which every question below is about.
    known, new = gallery.embed(test), gallery.embed(new_test)
    known_names = [test.class_names[label] for label in test.labels]
    new_names = [new_test.class_names[label] for label in new_test.labels]

    # None of these, while the new classes are unknown: by the gallery, and by the classifier.
    print(gallery.calibrate(validation))
    scores = {"class means": [gallery.classify(each).similarities for each in (known, new)]}
    scores["classifier"] = [
        calibrated(model.predict(images, verbose=0), model.temperature).max(axis=1)
        for images in (image_dataset(each, args.image_size) for each in (test, new_test))
    ]
    lines = ["| none of these, by | AUROC | false alarms at 95 % of the known |", "| - | - | - |"]
    for name, (of_known, of_new) in scores.items():
        alarms = false_alarms_at_recall(of_known, of_new)
        lines.append(f"| {name} | {auroc(of_known, of_new):.3f} | {alarms:.1%} |")

    # The new classes, without training.
    gallery.threshold = None
    lines += [
        "",
        "| photographs of each new class | by | all | trained | new |",
        "| - |" + " - |" * 4,
    ]
    for count in (1, 5, None):
        chosen = new_train
        if count is not None:
            chosen = new_train.limit(count * new_train.num_classes, seed=args.seed)
        begin = time.perf_counter()
        gallery.add(chosen)
        seconds = time.perf_counter() - begin
        for by in ("means", "nearest"):
            gallery.by = by
            right = [
                np.equal(gallery.classify(each).classes, expected)
                for each, expected in ((known, known_names), (new, new_names))
            ]
            each = " | ".join(f"{part.mean():.1%}" for part in (np.concatenate(right), *right))
            lines.append(f"| {count or 'all'} | {by} | {each} |")
        speed = f"add: {1000 * seconds / len(chosen):.0f} ms a photograph"
        for name in new_train.class_names:
            if name in gallery.class_names and count is not None:
                gallery.remove(name)

    begin = time.perf_counter()
    gallery.search(np.concatenate([known, new]), k=10)
    each = (time.perf_counter() - begin) / (len(known) + len(new))
    lines += ["", f"{gallery!r}; {speed}; search: {1000 * each:.2f} ms a question."]
    show(lines, args)  # what there is, should the next not be waited for
    _, metrics = train_on(samples, args, f"{args.output}/all")
    lines.insert(-2, f"| trained on all classes | | {metrics['accuracy']:.1%} | | |")
    show(lines, args)


def show(lines, args):
    print("\n".join(lines), flush=True)
    write_text(pathlib.Path(args.output) / "gallery.md", "\n".join(lines) + "\n")


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
