"""From a model and photographs to embeddings, and what tells the model from another."""

import hashlib

import keras
import numpy as np

from cin_keras.checks import agree, check_int, check_size, short
from cin_keras.models.classifier import Classifier, height_and_width


class Embedder:
    """The part of a model that makes embeddings: what its classifier sees, whitened if it says how.

    Args:
        model: `cin_keras.CIN` or `NTS`.
        image_size: Int or `(height, width)` in pixels, at which photographs are shown, or `None`
            for the model's. Defaults to `None`.
        batch_size: Int ≥ 1, images at a time. Defaults to 32.

    Raises:
        ValueError: If the model is neither; if `image_size` is not the model's or, of a model that
            takes any and names none, missing; for a `batch_size` out of range.

    Attributes:
        image_size: `(height, width)`.
        width: Int, how many numbers an embedding has.
        fingerprint: Str of 16 hexadecimal digits, which another model does not have.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> model = cin_keras.CIN(3, small_backbone(32), input_shape=(32, 32, 3))
    >>> embeddings = Embedder(model)(np.zeros((2, 32, 32, 3)))
    >>> embeddings.shape == (2, Embedder(model).width)
    True
    """

    def __init__(self, model, image_size=None, batch_size=32):
        self.fingerprint = fingerprint_of(model)
        size = model.image_size if image_size is None else check_size("image_size", image_size)
        if size is None:
            raise ValueError(
                "The model takes images of any size and does not say which: give `image_size`. "
                "Received: image_size=None"
            )
        self._sides = height_and_width(model.input_shape[1:], model.data_format)
        if not agree(size, self._sides):
            raise ValueError(
                f"`image_size` must be that of the model, {self._sides}, or be left out. "
                f"Received: image_size={image_size!r}"
            )
        self.image_size = tuple(size)
        self.batch_size = check_int("batch_size", batch_size, least=1)
        self.model = model
        self._network = _network_of(model)
        self.width = model.embedding_width
        self._some_numbers = self._look_at_some_numbers()

    def check_unchanged(self):
        """Raises ValueError if the model was trained since, by a few numbers of each weight."""
        if self._look_at_some_numbers() != self._some_numbers:
            raise ValueError(
                "The model has changed since this gallery was made, and its embeddings with it: "
                "make a new Gallery."
            )

    def _look_at_some_numbers(self):
        return [_some_numbers(value) for value in _values(self._network, self.model)]

    def __call__(self, images):
        """The embeddings of images.

        Args:
            images: Array `(images, height, width, 3)`, RGB from 0 to 255.

        Returns:
            float32 array `(images, width)`; rows have length 1.

        Raises:
            ValueError: If the shape is another, or a number is not finite.
            FloatingPointError: If an embedding is not finite.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[3] != 3 or not agree(images.shape[1:3], self._sides):
            height, width = (
                name if side is None else side
                for name, side in zip(("height", "width"), self._sides)
            )
            raise ValueError(
                f"`images` must have shape (images, {height}, {width}, 3), RGB from 0 to 255; for "
                f"one image, images[None]. Received: images.shape={images.shape}"
            )
        if not np.isfinite(images).all():
            raise ValueError("`images` must be finite. Received: a number that is not")
        parts = [
            self.of_batch(images[begin : begin + self.batch_size])
            for begin in range(0, len(images), self.batch_size)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.width), "float32")

    def of_batch(self, images):
        """As `__call__`, of as many images as the network takes at a time."""
        images = self.model.in_own_format(images)
        embeddings = np.asarray(self._network.predict_on_batch(images), "float32")
        if not np.isfinite(embeddings).all():
            raise FloatingPointError(
                "The model's embeddings are not finite: it is broken, most likely by a learning "
                "rate that was too large."
            )
        whitening = self.model.whitening
        return of_length_1(embeddings if whitening is None else whitening(embeddings))


def fingerprint_of(model):
    """What tells a model from others that make other embeddings.

    Args:
        model: `cin_keras.CIN` or `NTS`, as it is now: training it further changes it.

    Returns:
        Str of 16 hexadecimal digits.

    Raises:
        ValueError: If the model is none.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> model = cin_keras.CIN(3, small_backbone(32), input_shape=(32, 32, 3))
    >>> fingerprint_of(model) == Embedder(model).fingerprint
    True
    """
    if not isinstance(model, Classifier):
        raise ValueError(
            "`model` must be a cin_keras.CIN or NTS, as cin_keras.load_model returns it. "
            f"Received: {short(model)} of type {type(model).__name__}"
        )
    network = _network_of(model)
    digest = hashlib.sha256()
    # What the weights do not say.
    names = ("backbone_name", "interaction_name", "scale", "similarity")
    rest = [getattr(model, name, None) for name in names]
    kinds = [type(layer).__name__ for layer in network.layers]
    digest.update(repr((rest, kinds)).encode())
    for value in _values(network, model):
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(value), "<f4")
        digest.update(repr(value.shape).encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:16]


def _network_of(model):
    return keras.Model(model.input, model.dropout.output, name="embeddings")


def _values(network, model):
    """What embeddings depend on: the weights, then the arrays of the whitening."""
    whitening = model.whitening
    return [*network.weights, *(() if whitening is None else (whitening.mean, whitening.kernel))]


def _some_numbers(value):
    """Bytes of some eight numbers, of which alone those of a tensor are brought from its device."""
    is_array = isinstance(value, np.ndarray)
    flat = value.ravel() if is_array else keras.ops.reshape(value, (-1,))
    some = flat[:: max(1, flat.shape[0] // 8)]
    return keras.ops.convert_to_numpy(some).astype("float32").tobytes()


def of_length_1(vectors):
    """Vectors `(vectors, width)` scaled to length 1, so that products are cosine similarities."""
    vectors = np.asarray(vectors, "float32")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if ((lengths < 1e-12) | (lengths > 1e18)).any():  # whose squares are no float32
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0)
        vectors = vectors / np.where(largest == 0, 1, largest)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.float32(1e-12))
