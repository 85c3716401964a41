"""From a model and photographs to embeddings, and what tells the model from another."""

import hashlib
import math

import keras
import numpy as np

from cin_keras.checks import agree, check_int, check_size, short
from cin_keras.data.decoding import UnreadableImage
from cin_keras.data.predicting import predict_each
from cin_keras.data.samples import fingerprint, state_of
from cin_keras.gallery.part_file import PartFile
from cin_keras.models.classifier import Classifier, height_and_width
from cin_keras.progress import progress_bar

# Numbers of a weight: to take a few of it on its device takes longer than to bring so many.
BROUGHT_WHOLE = 1_000_000


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

    def of_samples(self, samples, on_error="raise", resume_file=None, progress=False):
        """The embeddings of photographs, read a batch at a time.

        Args:
            samples: `Samples`.
            on_error: `"raise"` or `"skip"`: what to do about a photograph that cannot be decoded.
                Defaults to `"raise"`.
            resume_file: Path of a file that grows by every batch, from which the next call goes on;
                or `None`. Defaults to `None`.
            progress: Bool, whether to show a bar; `None` for one if standard error is a terminal.
                Defaults to `False`.

        Returns:
            `(embeddings, reasons)`: float32 `(samples, width)`, rows of length 1; and a dict from
            the indices of those that cannot be decoded, whose rows are NaN, to why.

        Raises:
            ValueError: For a photograph that cannot be decoded; for a `resume_file` of something
                else.
            OSError: If that cannot be written.
            FloatingPointError: If an embedding is not finite.
        """
        size = len(samples)
        embeddings = np.empty((size, self.width), "float32")
        part, done = None, 0
        if resume_file is not None:
            about = {"model": self.fingerprint, "photographs": fingerprint(samples)}
            about |= {"image_size": self.image_size, "state": state_of(samples)}
            part = PartFile(resume_file, about, self.width)
            made = part.read()[:size]
            done = len(made)
            embeddings[:done] = made
        reasons = {}
        with progress_bar(size, "image", progress) as bar:
            for i in np.flatnonzero(np.isnan(embeddings[:done, 0])).tolist():
                reasons[i] = _why_not(samples, i)
                if on_error == "raise":
                    raise UnreadableImage(samples.paths[i], reasons[i])
            bar.update(done)
            written = done
            if done < size:
                rest = samples if not done else samples.subset(range(done, size))
                each = predict_each(self.of_batch, rest, self.image_size, self.batch_size)
                for index, row, reason in each:
                    index += done
                    if reason is not None:
                        if on_error == "raise":
                            raise UnreadableImage(samples.paths[index], reason)
                        reasons[index], row = reason, np.nan
                    embeddings[index] = row
                    bar.update()
                    whole_batch = index + 1 - written >= self.batch_size
                    if part is not None and (whole_batch or index + 1 == size):
                        part.write(embeddings[written : index + 1], written)
                        written = index + 1
        return embeddings, reasons


def fingerprint_of(model):
    """What tells a model from others that make other embeddings.

    Args:
        model: `cin_keras.CIN` or `NTS`, as it is now: training it further changes it.

    Returns:
        Str of 16 hexadecimal digits.

    Raises:
        ValueError: If the model is neither.

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


def _why_not(samples, index):
    try:
        samples.read(index)
    except UnreadableImage as error:
        return error.reason
    return "it could not be read when this began"


def _some_numbers(value):
    """Bytes of some eight numbers; of a large tensor these alone are brought from its device."""
    size = math.prod(value.shape)
    if size > BROUGHT_WHOLE:
        value = keras.ops.reshape(value, (-1,))[:: size // 8]
        size = 8
    return keras.ops.convert_to_numpy(value).ravel()[:: max(1, size // 8)].astype("float32").tobytes()


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
