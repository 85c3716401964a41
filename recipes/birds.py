"""Trains a Channel Interaction Network on the 200 birds of CUB-200-2011.

python recipes/birds.py --download                        gets the photographs first, 1.2 GB
python recipes/birds.py --data-dir data/CUB_200_2011
"""

import cin_keras
from cin_keras.data import cub_200_2011, download, image_dataset, pair_dataset
from cin_keras.training import make_optimizer, network_options, open_run, set_seed, single_images
from cin_keras.training.data_set import data_set_parser, settle_data_set

PLACES = ["data/CUB_200_2011"]
SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}


def main(args):
    with open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            if args.download:
                download("cub_200_2011", args.data_dir)
            train, validation = cub_200_2011(args.data_dir, "train").split(0.1, seed=args.seed)
            samples = train, validation, cub_200_2011(args.data_dir, "test")
        train, validation, test = run.check_samples(*samples)
        size, batch = args.image_size, run.devices.local_batch(args.pairs_per_batch)
        reading = {"seed": args.seed, "on_error": args.on_error, "shard": run.devices.shard}
        if args.plain:  # to compare: a linear classifier, which learns from single images
            pairs = single_images(run.devices, train, size, 2 * batch, **reading)
        else:
            pairs = pair_dataset(train, size, batch, split_batches=True, **reading)
        validation_data = image_dataset(validation, size, 2 * batch, **reading)

        set_seed(args.seed, args.deterministic)
        options = network_options(args, train)  # backbone, weights, class names, α, precision
        model = cin_keras.CIN(train.num_classes, settings=run.settings, **options)
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


if __name__ == "__main__":
    parser = data_set_parser("birds", "CUB-200-2011", PLACES, "1.2 GB", SETTINGS)
    main(settle_data_set(parser.parse_args(), SETTINGS))
