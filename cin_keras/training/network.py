"""What a recipe's options say of the network and of how it learns."""

import keras

from cin_keras.data import image_dataset, mixed
from cin_keras.data.mixing import MIXINGS
from cin_keras.models import TRAINING_RATES
from cin_keras.models.small_backbone import small_backbone
from cin_keras.optimizers import LayerwiseAdamW, LayerwiseSGD
from cin_keras.training.options import HEADS, WARMUP_EPOCHS


def network_options(args, samples):
    """The arguments of `cin_keras.CIN` that command line and photographs set.

    Args:
        args: What `settle` returned.
        samples: `Samples` to train on.

    Returns:
        Dict of `input_shape`, `class_names`, `hierarchy`, `backbone`, `weights`, `feature_layer`,
        `alpha` and `dtype`; of a `--head` what makes it, too.

    Raises:
        ValueError: If images are too small for the network, or Keras has their channels first.

    Example:

    >>> from cin_keras.training import recipe_parser, settle
    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
    >>> parser = recipe_parser("python recipes/birds.py", "birds", settings)
    >>> samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=32)
    >>> network_options(settle(parser.parse_args([]), settings), samples)["input_shape"]
    (448, 448, 3)
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            'A network is trained on images with channels last: set "image_data_format" to '
            '"channels_last" in ~/.keras/keras.json. Received: "channels_first"'
        )
    small = args.backbone == "small"
    least = 16 if small else 32  # pixels, which become one position of the feature map
    if args.image_size < least:
        raise ValueError(
            f"`image_size` must be at least {least} for --backbone {args.backbone}. "
            f"Received: image_size={args.image_size}"
        )
    dtype = f"mixed_{args.mixed_precision}" if args.mixed_precision else "float32"
    return {
        "input_shape": (args.image_size, args.image_size, 3),
        "class_names": list(samples.class_names),
        "hierarchy": samples.hierarchy,
        "backbone": small_backbone(args.image_size, dtype) if small else args.backbone,
        "weights": None if args.weights == "none" else args.weights,
        "feature_layer": args.feature_layer,
        "alpha": args.alpha,
        "dtype": dtype,
        **HEADS[args.head],
    }


def optimizer_options(args):
    """The arguments of `make_optimizer` that the command line sets, all but the number of steps.

    Args:
        args: What `settle` returned.

    Returns:
        Dict of `learning_rate`, `epochs`, `backbone`, `weight_decay`, `ema` and `warmup_epochs`.

    Example:

    >>> from cin_keras.training import recipe_parser, settle
    >>> settings = {"backbone": "resnet50", "image_size": 448, "epochs": 20, "pairs_per_batch": 16}
    >>> parser = recipe_parser("python recipes/birds.py", "birds", settings)
    >>> options = optimizer_options(settle(parser.parse_args(["--recipe", "paper"]), settings))
    >>> options["learning_rate"], options["epochs"], options["warmup_epochs"]
    (0.01, 100, 5)
    """
    names = ("learning_rate", "epochs", "backbone", "weight_decay", "ema")
    return {
        **{name: getattr(args, name) for name in names},
        "warmup_epochs": WARMUP_EPOCHS[args.recipe],
    }


def make_optimizer(
    learning_rate,
    epochs,
    steps_per_epoch,
    weight_decay,
    backbone="resnet50",
    rates=TRAINING_RATES,
    ema=False,
    warmup_epochs=0.5,
):
    """The optimizer of a whole run: φ, ψ and the Navigator of `NTS` have lower rates than the rest.

    Args:
        learning_rate: Float > 0, the highest.
        epochs: Int ≥ 1.
        steps_per_epoch: Int ≥ 1.
        weight_decay: Float ≥ 0, decoupled, of kernels alone.
        backbone: Str, as `--backbone`: `"small"` is trained from nothing, by AdamW; any other,
            which is pretrained, by descent with momentum. Defaults to `"resnet50"`.
        rates: Dict, as for `cin_keras.optimizers.LayerwiseSGD`. Defaults to `TRAINING_RATES`.
        ema: Bool, whether to keep an exponential moving average of the weights, of about the last
            hundred steps (Keras' `use_ema`). Defaults to `False`.
        warmup_epochs: Float ≥ 0. Defaults to 0.5.

    Returns:
        `cin_keras.optimizers.LayerwiseSGD` or `LayerwiseAdamW`.

    Example:

    >>> make_optimizer(0.02, epochs=20, steps_per_epoch=100, weight_decay=0.005).momentum
    0.9
    """
    rate = learning_rate_schedule(learning_rate, epochs, steps_per_epoch, warmup_epochs)
    options = {"rates": rates, "weight_decay": weight_decay, "use_ema": ema}
    if backbone == "small":
        return LayerwiseAdamW(rate, **options)
    return LayerwiseSGD(rate, momentum=0.9, **options)


def mix(args, dataset, num_classes):
    """The photographs of a data set mixed as `--mixup` or `--cutmix` asks, or as they are.

    Args:
        args: What `settle` returned.
        dataset: What `pair_dataset` or `single_images` returned.
        num_classes: Int.

    Returns:
        `tf.data.Dataset`; see `cin_keras.data.mixed`.
    """
    for mixing in MIXINGS:
        if getattr(args, mixing):
            dataset = mixed(dataset, mixing, num_classes, args.seed)
    return dataset


def single_images(devices, samples, image_size, batch_size, *, seed, on_error, shard):
    """The training data of a plain classifier: one image at a time, in a new order every epoch.

    Args:
        devices: `cin_keras.distribution.Devices`.
        samples: `Samples`.
        image_size: Int, in pixels.
        batch_size: Int ≥ 1, images in a batch.
        seed: Int ≥ 0, of order and crops.
        on_error: As for `image_dataset`.
        shard: As for `image_dataset`.

    Returns:
        `tf.data.Dataset`, as `image_dataset`, without a last batch that devices could not share.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=2, image_size=32)
    >>> devices = cin_keras.distribution.Devices(["one"])
    >>> len(single_images(devices, samples, 32, 8, seed=0, on_error="raise", shard=None))
    3
    """
    data = image_dataset(
        samples,
        image_size,
        batch_size,
        shuffle=True,
        augment="crop",
        seed=seed,
        on_error=on_error,
        shard=shard,
    )
    return devices.training_data(data)


def learning_rate_schedule(highest, epochs, steps_per_epoch, warmup_epochs=0.5):
    """A linear rise from zero, then half a cosine down to zero.

    Args:
        highest: Float > 0.
        epochs: Int ≥ 1, of the whole run.
        steps_per_epoch: Int ≥ 1.
        warmup_epochs: Float ≥ 0, of the rise; at most half of the run. Defaults to 0.5.

    Returns:
        A Keras learning rate schedule.

    Example:

    >>> schedule = learning_rate_schedule(0.1, epochs=10, steps_per_epoch=100)
    >>> [round(float(schedule(step)), 3) for step in (0, 25, 50, 1000)]
    [0.0, 0.05, 0.1, 0.0]
    """
    warmup = int(min(warmup_epochs, epochs / 2) * steps_per_epoch)
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(epochs * steps_per_epoch - warmup, 1),
        warmup_target=highest,
        warmup_steps=warmup,
    )


def set_seed(seed, deterministic=False):
    """Seeds weights and dropout; `deterministic` gives the same bits for the same numbers, too.

    Args:
        seed: Int ≥ 0.
        deterministic: Bool, for TensorFlow alone, in this process from now on. Defaults to
            `False`.

    Raises:
        ValueError: If `deterministic` is asked of another backend.

    Example:

    >>> set_seed(0)
    """
    backend = keras.backend.backend()
    if deterministic and backend != "tensorflow":
        raise ValueError(
            f"--deterministic is for the TensorFlow backend. Received: KERAS_BACKEND={backend}"
        )
    if deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
