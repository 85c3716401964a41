"""A trained model as the commands use it: photographs in, probabilities out."""

import json
import pathlib

import numpy as np

from cin_keras.data import image_dataset
from cin_keras.evaluation import softmax
from cin_keras.models import load_model


class Classifier:
    """A model file, with what it says of its classes and its image size.

    Args:
        path: Str, a `.keras` file, or the folder of a SavedModel that `CIN.export` has written.
        image_size: Int, for a network that takes any size, or `None` for what the file says.
            Defaults to `None`.
        keras_only: Bool, whether a SavedModel is refused. Defaults to `False`.

    Raises:
        FileNotFoundError, ValueError: As `cin_keras.load_model`, or if nobody says which size.

    Attributes:
        model: `CIN`, or `None` for a SavedModel.
        has_class_names: Bool, whether the file names its classes.
        class_names: Tuple of str; the numbers of the classes, from 0, where they have no names.
        image_size: `(height, width)` in pixels.
        settings: Dict, how the model was trained.
    """

    def __init__(self, path, image_size=None, keras_only=False):
        self.model = None
        if is_saved_model(path) and not keras_only:
            card, self._predict, count = open_saved_model(path)
            names, size, self.settings = (
                card["class_names"],
                card["image_size"],
                card["settings"],
            )
            if image_size is not None and size not in (None, [image_size] * 2):
                raise ValueError(
                    f"`image_size` must be that of the SavedModel, {size}, or None. "
                    f"Received: image_size={image_size}"
                )
            size = size or (image_size and (image_size, image_size))
        else:
            self.model = load_model(path, compile=False)
            if image_size is not None:
                self.model.image_size = image_size
            self._predict, count = self._predict_with_keras, self.model.num_classes
            names, size = self.model.class_names, self.model.image_size
            self.settings = self.model.settings
        if size is None:
            raise ValueError(
                f"{str(path)!r} takes images of any size and does not say which: give --image-size."
            )
        self.image_size = tuple(size)
        self.has_class_names = names is not None
        self.class_names = tuple(names or map(str, range(count)))

    def probabilities(self, images):
        """Probabilities of every class.

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
        scores = np.asarray(self.model.predict_on_batch(images))
        return scores if self.model.classifier_activation == "softmax" else softmax(scores)

    def classify(self, samples, batch_size):
        """Reads photographs and classifies them, a batch at a time.

        Args:
            samples: `Samples`.
            batch_size: Int ≥ 1.

        Yields:
            `(index, probabilities, reason)` for every sample, in order: an array of shape
            `(classes,)` and `None`, or, for a photograph that cannot be decoded, `None` and a
            str that says why.
        """
        data = image_dataset(samples, self.image_size, batch_size, on_error="skip")
        data.skipped.silence()  # whoever iterates over this says it
        reasons = data.skipped.reasons
        index = 0
        for images, _ in data:
            for row in self.probabilities(images.numpy()):
                while index in reasons:
                    yield index, None, reasons[index]
                    index += 1
                yield index, row, None
                index += 1
        for bad in range(index, len(samples)):
            yield bad, None, reasons[bad]


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
        served = tf.saved_model.load(path)
    except Exception as error:  # TensorFlow raises many kinds for a damaged folder
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path!r} cannot be loaded: {first_line}") from error
    if not hasattr(served, "model_card"):
        raise ValueError(
            f"{path!r} is a SavedModel without a model card: give one that cin_keras has exported."
        )
    describe = served.signatures["serving_default"]

    def predict(images):
        images = tf.convert_to_tensor(np.asarray(images, "float32"))
        # It must not be deleted while its signature is in use.
        predict.served = served
        return describe(images=images)["probabilities"].numpy()

    card = json.loads(served.model_card().numpy())
    return card, predict, describe.structured_outputs["probabilities"].shape[1]
