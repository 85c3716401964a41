"""Trains a Channel Interaction Network on the 200 birds of CUB-200-2011.

python recipes/birds.py --download                        gets the photographs first, 1.2 GB
python recipes/birds.py --data-dir data/CUB_200_2011
"""

import cin_keras
from cin_keras.data import cub_200_2011, download, image_dataset, pair_dataset
from cin_keras.training import make_optimizer, network_options, open_run, set_seed, single_images
from cin_keras.training.options import recipe_parser, settle

DATA = "CUB-200-2011 (data/CUB_200_2011)"
SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}


def load_samples(args):
    """Training, validation and test samples; validation is a tenth of the training photographs."""
    if args.download:
        download("cub_200_2011", args.data_dir)
    train, validation = cub_200_2011(args.data_dir, "train").split(0.1, seed=args.seed)
    return train, validation, cub_200_2011(args.data_dir, "test")


def main(args):
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
    parser = recipe_parser("python recipes/birds.py", "birds", SETTINGS, DATA, "runs/birds")
    parser.add_argument("--download", action="store_true", help="get the photographs first, 1.2 GB")
    parser.set_defaults(data_dir="data/CUB_200_2011")
    main(settle(parser.parse_args(), SETTINGS))
