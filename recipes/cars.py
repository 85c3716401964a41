"""Trains a Channel Interaction Network on cars, evaluates it, draws what happened, exports it.

python recipes/cars.py               Stanford Cars if found, or in --data-dir; else drawn cars
python recipes/cars.py --download    gets the photographs first, 1.9 GB
"""

import cin_keras
from cin_keras import training
from cin_keras.data import download, image_dataset, pair_dataset, stanford_cars
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


def main(args, load_samples=load_samples):
    with training.open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            samples = load_samples(args)
        train, validation, test = run.check_samples(*samples)
        size, batch = args.image_size, run.devices.local_batch(args.pairs_per_batch)
        reading = {"seed": args.seed, "on_error": args.on_error, "shard": run.devices.shard}
        if args.plain:  # to compare: a linear classifier, which learns from single images
            pairs = training.single_images(run.devices, train, size, 2 * batch, **reading)
        else:
            few = {"classes_per_batch": args.classes_per_batch, "split_batches": True}
            pairs = pair_dataset(train, size, batch, **few, **reading)
        pairs = training.mix(args, pairs, train.num_classes)  # as --mixup or --cutmix asks
        validation_data = image_dataset(validation, size, 2 * batch, **reading)

        training.set_seed(args.seed, args.deterministic)
        options = training.network_options(args, train)  # backbone, weights, class names, α, …
        model = cin_keras.CIN(train.num_classes, settings=run.settings, **options)
        rates = training.optimizer_options(args)  # learning rate, weight decay, EMA
        optimizer = training.make_optimizer(steps_per_epoch=len(pairs), **rates)
        loss = cin_keras.losses.SoftmaxCrossentropy(label_smoothing=args.label_smoothing)
        model.compile(optimizer, loss, weighted_metrics=[cin_keras.metrics.accuracy])
        model.fit(
            pairs,
            validation_data=run.devices.evaluation_data(validation_data),
            epochs=args.epochs,
            initial_epoch=run.first_epoch(model),
            callbacks=run.callbacks(pairs, validation_data),
            shuffle=False,  # the photographs come in an order of their own every epoch
        )
        model = run.best_model(model)
        run.export(model)
        run.evaluate(model, image_dataset(test, size, 2 * batch, **reading))


if __name__ == "__main__":
    parser = data_set_parser("cars", "Stanford Cars", PLACES, "1.9 GB", PHOTOGRAPHS, DRAWINGS)
    main(settle_data_set(parser.parse_args(), PHOTOGRAPHS, DRAWINGS))
