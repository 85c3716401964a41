"""`cin-keras train FOLDER`: a model of somebody's own photographs."""

from cin_keras.cli.parser import TRAIN_SETTINGS
from cin_keras.data import image_dataset, pair_dataset
from cin_keras.losses import SoftmaxCrossentropy
from cin_keras.models import CIN
from cin_keras.training import make_optimizer, network_options, open_run, set_seed, single_images
from cin_keras.training.folder import folder_samples, settle_folder


def run(args):
    """Trains, exports and evaluates, as `recipes/folder.py` does.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    args = settle_folder(args, TRAIN_SETTINGS)
    with open_run(args.output, vars(args), args.resume, args.distribute) as run:
        with run.devices.chief_first():
            samples = folder_samples(args, run)
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
        model = CIN(train.num_classes, settings=run.settings, **options)
        optimizer = make_optimizer(args.learning_rate, args.epochs, len(pairs), args.backbone)
        loss = SoftmaxCrossentropy()
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
    return 0
