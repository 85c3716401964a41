"""Trains a Channel Interaction Network on your own photographs: one folder a class.

python recipes/folder.py photographs
"""

import cin_keras
from cin_keras import training
from cin_keras.data import image_dataset, pair_dataset
from cin_keras.training.folder import folder_parser, folder_samples, settle_folder

SETTINGS = {"backbone": "resnet50", "image_size": 448, "epochs": 30, "pairs_per_batch": 16}


def main(args):
    with training.open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            samples = folder_samples(args, run)
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
    parser = folder_parser("python recipes/folder.py FOLDER", SETTINGS)
    main(settle_folder(parser.parse_args(), SETTINGS))
