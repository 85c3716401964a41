"""A trained model as the commands use it: photographs in, probabilities out."""

import contextlib
import glob
import json
import os
import pathlib
import tempfile

import numpy as np

from cin_keras.checks import first_line
from cin_keras.data.predicting import predict_each
from cin_keras.evaluation import calibrated
from cin_keras.models import load_model

LARGE = 4096  # pixels, of which every network makes something


class Classifier:
    """A model file, with what it says of its classes and its image size.

    Args:
        path: Str, a `.keras` file, or the folder of a SavedModel that `CIN.export` has written.
        image_size: Int, for a network that takes any size, or `None` for what the file says.
            Defaults to `None`.
        keras_only: Bool, whether a SavedModel is refused. Defaults to `False`.

    Raises:
        FileNotFoundError, ValueError: As `cin_keras.load_model`, if nobody says which size, or if
            the network makes nothing of images that small.

    Attributes:
        model: `CIN`, or `None` for a SavedModel.
        has_class_names: Bool, whether the file names its classes.
        class_names: Tuple of str; the numbers of the classes, from 0, where they have no names.
        image_size: `(height, width)` in pixels.
        settings: Dict, how the model was trained.
        hierarchy: Dict, as for `CIN`, or `None`.
    """

    def __init__(self, path, image_size=None, keras_only=False):
        self.model = None
        if is_saved_model(path) and not keras_only:
            card, self._predict, count = open_saved_model(path)
            names, size, self.settings = (
                card[k] for k in ("class_names", "image_size", "settings")
            )
            self.hierarchy = card.get("hierarchy")
            if image_size is not None and size not in (None, [image_size] * 2):
                raise ValueError(
                    f"`image_size` must be that of the SavedModel, {size}, or be left out. "
                    f"Received: image_size={image_size}"
                )
            if size is None and image_size is not None:
                size = [image_size] * 2
                check_takes(self._predict, image_size)
        else:
            self.model = load_model(path, compile=False)
            if image_size is not None:
                self.model.image_size = image_size
                check_not_too_small(self.model, image_size)
            self._network = self.model.prediction_network()
            self._predict, count = self._predict_with_keras, self.model.num_classes
            names, size = self.model.class_names, self.model.image_size
            self.settings = self.model.settings
            self.hierarchy = self.model.hierarchy
        if size is None:
            raise ValueError(
                f"{str(path)!r} takes images of any size and does not say which: give --image-size."
            )
        self.image_size = tuple(size)
        self.has_class_names = names is not None
        self.class_names = tuple(names or map(str, range(count)))

    def probabilities(self, images):
        """Probabilities of every class, with the model's temperature.

        Args:
            images: Array of shape `(batch, height, width, 3)`, RGB from 0 to 255.

        Returns:
            float32 array of shape `(batch, classes)`.

        Raises:
            FloatingPointError: If they are not finite.
        """
        probabilities = self._predict(images)
        if not np.isfinite(probabilities).all():
            raise FloatingPointError(
                "The model's predictions are not finite: it is broken, most likely by a learning "
                "rate that was too large."
            )
        return probabilities

    def _predict_with_keras(self, images):
        scores = np.asarray(self._network.predict_on_batch(self.model.in_own_format(images)))
        are_logits = self.model.classifier_activation is None
        return calibrated(scores, self.model.temperature, are_logits)

    def classify(self, samples, batch_size, max_pixels):
        """Reads photographs and classifies them, a batch at a time.

        Args:
            samples: `Samples`.
            batch_size: Int ≥ 1.
            max_pixels: Int ≥ 1; larger photographs count as ones that cannot be decoded.

        Yields:
            `(index, probabilities, reason)` for every sample, in order: an array of shape
            `(classes,)` and `None`, or, for a photograph that cannot be decoded, `None` and a
            str that says why.
        """
        return predict_each(self.probabilities, samples, self.image_size, batch_size, max_pixels)


def check_not_too_small(model, image_size):
    """Raises ValueError if a network makes nothing of images of a size, and says which are enough.

    Args:
        model: `CIN` that takes images of any size.
        image_size: Int, pixels.

    Example:

    >>> from cin_keras.models.small_backbone import small_backbone
    >>> check_not_too_small(cin_keras.CIN(3, small_backbone(None), None, (None, None, 3)), 32)
    """

    def fits(size):
        try:
            return min(model.compute_output_shape((1, size, size, 3))) > 0
        except ValueError:  # a layer that Keras finds no output for
            return False

    if fits(image_size) or not fits(LARGE):
        return
    low, high = image_size, LARGE  # the first is too small, the second is not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    raise ValueError(
        f"`image_size` must be at least {high} for this network. Received: image_size={image_size}"
    )


def check_takes(predict, image_size):
    """Raises ValueError unless a SavedModel can do something with images of a size.

    Args:
        predict: Function from images to probabilities.
        image_size: Int, pixels.
    """
    try:
        predict(np.zeros((1, image_size, image_size, 3), "float32"))
    except Exception as error:  # TensorFlow raises many kinds
        raise ValueError(
            "`image_size` must be larger for this network. "
            f"Received: image_size={image_size} ({first_line(error)})"
        ) from error


def is_saved_model(path):
    """Whether a path (str) is that of a folder that holds a SavedModel."""
    return (pathlib.Path(path) / "saved_model.pb").is_file()


def open_saved_model(path):
    """Loads a SavedModel that `CIN.export` has written, with TensorFlow alone.

    Args:
        path: Str, its folder.

    Returns:
        `(card, predict, num_classes)`: a dict of what the model says of itself, a function from
        images, `(batch, height, width, 3)`, to probabilities, `(batch, classes)`, and an int.

    Raises:
        ValueError: If it is damaged, or somebody else's.
    """
    import tensorflow as tf

    try:
        with _without_patterns(path) as place:
            served = tf.saved_model.load(place)
    except Exception as error:  # TensorFlow raises many kinds for a damaged folder
        raise ValueError(f"{path!r} cannot be loaded: {first_line(error)}") from error
    card = json.loads(served.model_card().numpy()) if hasattr(served, "model_card") else None
    if not isinstance(card, dict) or not {"class_names", "image_size", "settings"} <= card.keys():
        raise ValueError(
            f"{path!r} is a SavedModel without a model card: give one that cin_keras has exported."
        )
    describe = served.signatures["serving_default"]
    shape = describe.structured_input_signature[1]["images"].shape
    channels_first = shape[1] == 3 != shape[3]

    def predict(images):
        images = np.moveaxis(images, 3, 1) if channels_first else images
        images = tf.convert_to_tensor(np.asarray(images, "float32"))
        # It must not be deleted while its signature is in use.
        predict.served = served
        return describe(images=images)["probabilities"].numpy()

    return card, predict, describe.structured_outputs["probabilities"].shape[1]


@contextlib.contextmanager
def _without_patterns(path):
    """A path to the same folder in which TensorFlow takes nothing for a pattern, as it does "[1]"."""
    if glob.escape(path) == path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "model")
        os.symlink(os.path.abspath(path), link)
        yield link
