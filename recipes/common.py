"""What the recipes share."""

import contextlib
import os
import re
import sys

import keras

from cin_keras.callbacks import NonFiniteLoss


def positive(number):
    """A type for argparse: `positive(int)` takes "3" but not "0" or "-1"."""

    def parse(text):
        value = number(text)
        if not 0 < value < float("inf"):
            raise ValueError(text)
        return value

    parse.__name__ = f"positive {number.__name__}"
    return parse


def small_backbone(image_size):
    """Five convolutions, for drawings: trains from nothing in minutes."""
    images = x = keras.Input((image_size, image_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    for block, filters in enumerate((32, 64, 128, 128, 256)):
        if block:
            x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return keras.Model(images, x, name="small")


def learning_rate_schedule(highest, epochs, steps_per_epoch):
    """Half an epoch of linear rise from zero, then half a cosine down to zero."""
    warmup = steps_per_epoch // 2
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(epochs * steps_per_epoch - warmup, 1),
        warmup_target=highest,
        warmup_steps=warmup,
    )


def stop(message, status=130):
    """Prints the message and ends the process at once, from within an interrupted `fit`.

    Not by `sys.exit`: Python would wait at its end for the threads of the pipeline that was
    interrupted, and these wait for Python, sometimes for ever.
    """
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    os._exit(status)


@contextlib.contextmanager
def named_failures():
    """Ends the process with one sentence where training or evaluation cannot go on.

    That is a full disk, a loss that is not finite, or an image that cannot be decoded, which
    reaches us as an error of TensorFlow around that of Python.
    """
    import tensorflow as tf

    try:
        yield
    except (NonFiniteLoss, OSError) as error:
        stop(f"\nerror: {error}", 1)
    except tf.errors.OpError as error:
        unreadable = re.search(r"UnreadableImage: (.+)", str(error))
        stop(f"\nerror: {unreadable[1] if unreadable else error}", 1)


def check_writable(folder):
    """Makes the folder and finds out now, not after training, whether it can be written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json.partial").touch()
    (folder / "metrics.json.partial").unlink()
