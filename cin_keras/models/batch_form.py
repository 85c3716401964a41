"""The form of what a classifier is given, by shapes and types alone: images, and labels to them.

What is wrong is said in one sentence before the first step; Keras' backends each say something else,
some of them after an epoch.
"""

import keras

from cin_keras.checks import agree, short


def check_images(x, input_shape, what):
    """Raises ValueError unless `x` can be a batch of images, or a pair of such.

    Args:
        x: Array, tensor or `tf.TensorSpec`, or a structure of these.
        input_shape: Tuple, the model's: `(None, height, width, channels)` or, with the data format
            `"channels_first"`, `(None, channels, height, width)`; any may be `None`.
        what: Str, how a message calls `x`.

    Example:

    >>> check_images(np.zeros((2, 32, 32, 3)), (None, 32, 32, 3), "x")
    """
    parts = keras.tree.flatten(x)
    expected = ", ".join(["batch", *("any" if n is None else str(n) for n in input_shape[1:])])
    kind = "pairs of images, each" if len(parts) == 2 else "images as"
    wanted = f"{what} must be {kind} one array of shape ({expected})"
    if len(parts) > 2:
        raise ValueError(
            f"{wanted}, which np.stack(images) makes of several. Received: {len(parts)} parts, "
            f"the first {_described(parts[0])}"
        )
    for part in parts or [None]:
        shape = shape_of(part)
        if not hasattr(part, "shape") or not is_number(part):
            raise ValueError(f"{wanted}, of numbers. Received: {_described(part)}")
        if shape is None:  # of a data set of TensorFlow
            raise ValueError(
                f"{wanted}. Received: tensors of an unknown number of axes: a generator's are known "
                "by tf.data.Dataset.from_generator(..., output_signature=...)"
            )
        if agree(shape[1:], input_shape[1:]):
            if shape[0] == 0:
                raise ValueError(f"{what} must hold at least one image. Received: {_described(part)}")
            continue
        raise ValueError(f"{wanted}{_advice(shape, input_shape)}. Received: {_described(part)}")


def check_labels(y, x, num_classes, what):
    """Raises ValueError unless `y` can be the labels of the images `x`, or of a pair of them.

    Args:
        y: Array, tensor or `tf.TensorSpec`, or a pair.
        x: The images, likewise.
        num_classes: Int.
        what: Str, how a message calls what holds both.
    """
    if y is None:
        raise ValueError(
            f"{what} must hold images and their labels, (images, labels). Received: no labels"
        )
    parts = list(y) if isinstance(y, (tuple, list)) else [y]
    if isinstance(y, list) and len(y) > 2:
        parts = [y]
    if any(not hasattr(part, "shape") for part in parts):
        raise ValueError(
            f"Labels must be an array, such as np.array(labels). Received: {short(y)} with {what}"
        )
    if not all(map(is_number, parts)):
        raise ValueError(
            f"Labels must be class numbers from 0 to {num_classes - 1}, which "
            "class_names.index(name) gives of names. "
            f"Received: labels of type {_type_of(next(p for p in parts if not is_number(p)))}"
        )
    for part in parts:
        shape = shape_of(part)
        if shape is not None and not (
            len(shape) == 1 or len(shape) == 2 and shape[1] in (1, num_classes, None)
        ):
            raise ValueError(
                f"Labels must be class numbers of shape (batch,), or one-hot (batch, {num_classes})"
                f", as num_classes={num_classes}. Received: labels of shape {shape}"
            )
    images = keras.tree.flatten(x)
    for part, own in zip(parts, images) if len(parts) == len(images) else ():
        shape, own = shape_of(part), shape_of(own)
        if shape and own and not agree(shape[:1], own[:1]):
            raise ValueError(
                f"{what} must hold as many labels as images. Received: {shape[0]} labels of {own[0]} "
                "images"
            )


def shape_of(x):
    """The shape as a tuple with `None` for what is not known, or `None` for all of it."""
    try:
        return tuple(x.shape)
    except (AttributeError, TypeError, ValueError):  # the last of TensorFlow, of an unknown rank
        return None


def is_number(x):
    """Whether an array or tensor holds numbers, or truth values."""
    return _type_of(x).startswith(("int", "uint", "float", "bfloat", "bool"))


def _type_of(x):
    if hasattr(x, "dtypes"):  # of pandas, whose tables Keras takes
        x = x.to_numpy()
    dtype = getattr(x, "dtype", type(x))
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def _described(x):
    shape = shape_of(x)
    return short(x) if shape is None else f"shape {shape} of type {_type_of(x)}"


def _advice(shape, input_shape):
    if agree(shape, input_shape[1:]):
        return "; images[None] makes a batch of one image, .batch(n) batches of a tf.data.Dataset"
    if agree(shape[1:], input_shape[1:-1]):
        return "; np.stack([grey] * 3, axis=-1) makes these of grey ones"
    if len(shape) == len(input_shape) and agree((3, 1), (input_shape[-1], shape[-1])):
        return "; np.repeat(images, 3, axis=-1) makes these of grey ones"
    if len(shape) == len(input_shape) and agree((3, 4), (input_shape[-1], shape[-1])):
        return "; images[..., :3] leaves transparency out"
    if agree(shape[3:], input_shape[3:]):
        size = shape[1:] if None not in shape[1:] else "(height, width, 3)"
        made = "image_dataset(image_size=...) makes others"
        return f"; a model made with input_shape={size} takes yours, {made}"
    return ""
