"""Trains a Channel Interaction Network on cars, evaluates it, draws what happened, exports it.

python recipes/cars.py                               drawn cars, or Stanford Cars if it is found
python recipes/cars.py --data-dir data/stanford_cars    Stanford Cars, strictly
python recipes/cars.py --download                    gets the photographs first, 1.9 GB
"""

import os

import cin_keras
from cin_keras.data import download, drawn_cars, image_dataset, pair_dataset, stanford_cars
from cin_keras.training import make_optimizer, network_options, open_run, set_seed, single_images
from cin_keras.training.options import recipe_parser, settle

# Where Stanford Cars are looked for: in the first of these that is there.
PLACES = ("data/stanford_cars", os.environ.get("STANFORD_CARS_DIR", ""))
DATA = "Stanford Cars; without it, drawn cars if none is found"
PHOTOGRAPHS = {"backbone": "resnet50", "image_size": 448, "epochs": 10, "pairs_per_batch": 16}
DRAWINGS = {"backbone": "small", "image_size": 64, "epochs": 20, "pairs_per_batch": 8}


def load_samples(args):
    """Training, validation and test samples; validation is a tenth of the training photographs."""
    if args.download:
        download("stanford_cars", args.data_dir)
    if args.data_dir:
        train, validation = stanford_cars(args.data_dir, "train").split(0.1, seed=args.seed)
        return train, validation, stanford_cars(args.data_dir, "test")
    place = f"{PLACES[0]} nor in $STANFORD_CARS_DIR ({PLACES[1] or 'not set'})"
    print(f"No Stanford Cars in {place}: training on drawn cars.")
    # Drawn somewhat larger than the network's size, as photographs are.
    size = round(args.image_size * 1.5)
    return [drawn_cars(split, image_size=size) for split in ("train", "validation", "test")]


def main(args, load_samples=load_samples):
    with open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            samples = load_samples(args)
        train, validation, test = run.check_samples(*samples, args.limit, args.on_error)

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
            **network_options(args),  # backbone, weights, feature layer, α, precision
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
            shuffle=False,  # the pairs come in an order of their own every epoch
        )
        model = run.best_model(model)
        run.export(model)
        run.evaluate(model, image_dataset(test, size, 2 * batch, **reading))
        print(run.summary())


if __name__ == "__main__":
    parser = recipe_parser(
        "python recipes/cars.py", "cars", PHOTOGRAPHS, DATA, "runs/cars", DRAWINGS
    )
    parser.add_argument("--download", action="store_true", help="get the photographs first, 1.9 GB")
    args = parser.parse_args()
    found = PLACES[0] if args.download else next(filter(os.path.isdir, PLACES), None)
    args.data_dir = args.data_dir or found
    main(settle(args, PHOTOGRAPHS if args.data_dir else DRAWINGS))
