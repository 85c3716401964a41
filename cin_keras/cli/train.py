"""`cin-keras train FOLDER`: a model of somebody's own photographs."""

from cin_keras import training
from cin_keras.cli.parser import TRAIN_SETTINGS
from cin_keras.data import image_dataset, pair_dataset
from cin_keras.losses import SoftmaxCrossentropy
from cin_keras.metrics import accuracy
from cin_keras.models import CIN
from cin_keras.training.folder import folder_samples, settle_folder


def run(args):
    """Trains, exports and evaluates, as `recipes/folder.py` does.

    Args:
        args: What the parser returned.

    Returns:
        Int, the exit status.
    """
    args = settle_folder(args, TRAIN_SETTINGS)
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
        model = CIN(train.num_classes, settings=run.settings, **options)
        rates = training.optimizer_options(args)  # learning rate, weight decay, EMA
        optimizer = training.make_optimizer(steps_per_epoch=len(pairs), **rates)
        loss = SoftmaxCrossentropy(label_smoothing=args.label_smoothing)
        model.compile(optimizer, loss, weighted_metrics=[accuracy])
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
    return 0
