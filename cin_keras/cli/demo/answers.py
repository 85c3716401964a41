"""What the page says of a photograph: everything but the page itself."""

import os
from typing import NamedTuple

import numpy as np
from PIL import Image

from cin_keras.cli.classifier import Classifier
from cin_keras.cli.output import reason_as_typed
from cin_keras.cli.parser import SIMILAR
from cin_keras.cli.predict import GalleryClassifier, what_is_shown
from cin_keras.data import Samples, UnreadableImage, decode
from cin_keras.data.cropping import crop
from cin_keras.data.predicting import predict_each
from cin_keras.explain import class_contrast, overlay
from cin_keras.models import CIN
from cin_keras.streams import one_line

PICTURE = 640  # pixels of the longer side
THUMBNAIL = 256


class Similar(NamedTuple):
    """A known photograph that is like the one that was asked about.

    Attributes:
        picture: uint8 array `(height, width, 3)`, small; grey where the file is gone.
        class_name: Str.
        similarity: Float, the cosine, at most 1.
        path: Str, as the gallery has it.
        problem: Str, why it cannot be shown, or `None`.
    """

    picture: np.ndarray
    class_name: str
    similarity: float
    path: str
    problem: str | None

    def __str__(self):
        problem = f" ({self.problem})" if self.problem else ""
        return one_line(f"{self.similarity:.3f} {self.class_name}: {self.path}{problem}")


class Answer(NamedTuple):
    """What is said of a photograph.

    Attributes:
        sentence: Str: its class with its probability, none of these and why, or what is wrong
            with the file.
        probabilities: Dict, class → probability, the most probable first; empty for a file that
            cannot be read.
        picture: uint8 array `(height, width, 3)`, the part of the photograph that the network
            sees, or `None`.
        decision: uint8 array of the same shape, the map of what decided over it, or `None`.
        legend: Str, what the map's colours mean, or why there is none.
        similar: List of `Similar`, the most similar first; empty without a gallery.
    """

    sentence: str
    probabilities: dict
    picture: np.ndarray | None = None
    decision: np.ndarray | None = None
    legend: str = ""
    similar: list = []


class Answers:
    """Answers about photographs, by a model or by its gallery.

    Args:
        model: Str, a `.keras` file.
        gallery: Str, the file of a gallery, whose classes are then the ones asked about, or
            `None`. Defaults to `None`.
        top: Int ≥ 1, how many classes. Defaults to 5.
        similar: Int ≥ 1, how many similar photographs. Defaults to 12.
        min_confidence: Float in [0, 1], as for `cin-keras predict`, or `None`. Defaults to `None`.
        image_size: Int, as for `Classifier`, or `None`. Defaults to `None`.
        max_pixels: Int ≥ 1; larger photographs are refused. Defaults to `None`, the limit of
            `cin_keras.data.decode`.

    Raises:
        FileNotFoundError, ValueError: As `Classifier` and `GalleryClassifier`: for another model's
            gallery, say.

    Attributes:
        class_names: Tuple of str.
        gallery: `cin_keras.Gallery`, or `None`.
        title: Str, what answers: the names of the files.

    Example:

    ```python
    answer = Answers("model.keras", "gallery.npz")("photograph.jpg")
    print(answer.sentence)
    ```
    """

    def __init__(
        self,
        model,
        gallery=None,
        *,
        top=5,
        similar=SIMILAR,
        min_confidence=None,
        image_size=None,
        max_pixels=None,
    ):
        if gallery is None:
            self._source = Classifier(model, image_size, keras_only=True)
            self._model, self.gallery = self._source.model, None
            self._image_size = self._source.image_size
        else:
            self._source = GalleryClassifier(gallery, model, image_size)
            self.gallery = self._source.gallery
            self._model, self._image_size = self.gallery.model, self.gallery.image_size
        self.class_names = self._source.class_names
        self._top, self._similar = top, similar
        self._min_confidence, self._max_pixels = min_confidence, max_pixels
        self.title = " and ".join(os.path.basename(path) for path in (model, gallery) if path)

    def __call__(self, path):
        """What a photograph shows.

        Args:
            path: Str, its file.

        Returns:
            `Answer`; also for a file that cannot be read, or if the model is broken.
        """
        samples = Samples([path], [0], ["unknown"])
        # As the command line reads it: no network but the identity.
        _, image, reason = next(
            predict_each(np.asarray, samples, self._image_size, 1, self._max_pixels)
        )
        name = repr(os.path.basename(path))
        if reason is not None:
            return Answer(f"{name} cannot be read: {reason_as_typed(reason)}.", {})
        try:
            return self._of_image(path, image[None])
        except (FloatingPointError, MemoryError, UnreadableImage) as error:
            return Answer(f"{name}: {error or 'there is not enough memory'}", {})

    def _of_image(self, path, images):
        embeddings = None
        if self.gallery is None:
            row = self._source.probabilities(images)[0]
        else:
            embeddings = self.gallery.embed(images)
            row = self.gallery.classify(embeddings)
        top, answer = what_is_shown(self._source, row, self._top, self._min_confidence)
        picture, decision, legend = self._decision(path, images)
        return Answer(
            sentence(top, answer, self._min_confidence, self._shortfall(row)),
            {each["class"]: each["probability"] for each in top},
            picture,
            decision,
            legend,
            [] if embeddings is None else self._most_similar(embeddings),
        )

    def _shortfall(self, row):
        """Str, how far a photograph is from being of a class of the gallery, or `None`."""
        if self.gallery is None or row.classes[0] is not None:
            return None
        return (
            f"its similarity to what is known is {row.similarities[0]:.3f}, and the gallery's "
            f"threshold is {self.gallery.threshold:.3f}"
        )

    def _decision(self, path, images):
        """`(picture, decision, legend)`, as `Answer` has them."""
        possible = isinstance(self._model, CIN) and self._model.interaction_name != "osme"
        place = None
        if possible:
            map, of, against = self._contrast(images)
            place = map.shape
        picture = read_picture(path, PICTURE, self._max_pixels, place)
        if not possible:
            return picture, None, "This kind of network has no map of what decided."
        most = float(np.abs(map).max())
        decision = overlay(picture, map, (-most, most))
        legend = f"Yellow speaks for {of}"
        legend += f", blue for {against}." if against is not None else ", blue against it."
        return picture, decision, one_line(legend)

    def _contrast(self, images):
        """The map of an image, the class it speaks for and the one that it speaks against."""
        if self.gallery is not None:
            maps, classes, others = self.gallery.class_contrast(images)
            return maps[0], classes[0], others[0]
        found = class_contrast(self._model, self._model.in_own_format(images))
        names = self.class_names
        return found.maps[0], names[found.classes[0]], names[found.others[0]]

    def _most_similar(self, embeddings):
        found = self.gallery.search(embeddings, min(self._similar, len(self.gallery)))
        similar = []
        for path, name, cosine in zip(found.paths[0], found.classes[0], found.similarities[0]):
            picture, problem = np.full((THUMBNAIL, THUMBNAIL, 3), 200, "uint8"), None
            try:
                picture = read_picture(path, THUMBNAIL, self._max_pixels, whole=True)
            except UnreadableImage as error:
                problem = error.reason
            similar.append(Similar(picture, str(name), float(cosine), str(path), problem))
        return similar


def read_picture(path, longest, max_pixels=None, least=None, whole=False):
    """What the network sees of a photograph, in the photograph's proportions.

    Args:
        path: Str.
        longest: Int, pixels of the longer side.
        max_pixels: Int ≥ 1, or `None` for the limit of `decode`. Defaults to `None`.
        least: `(height, width)`, or `None` for any. Defaults to `None`.
        whole: Bool, whether the margin that the network does not see is shown, too. Defaults to
            `False`.

    Returns:
        uint8 array `(height, width, 3)`.

    Raises:
        UnreadableImage: As `decode`.
    """
    limit = {} if max_pixels is None else {"max_pixels": max_pixels}
    image = decode(path, at_least=(longest, longest), **limit)
    scale = longest / max(image.size)
    height, width = (
        max(round(scale * side), floor)
        for side, floor in zip((image.height, image.width), least or (1, 1))
    )
    if whole:
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return crop(image, height, width)


def sentence(top, answer, min_confidence=None, shortfall=None):
    """What is said of a photograph, for a person.

    Args:
        top: List of dicts, as `what_is_shown` returns it.
        answer: Dict or `None`, as `what_is_shown` returns it.
        min_confidence: Float, or `None`. Defaults to `None`.
        shortfall: Str, why the gallery takes it for none of its classes, or `None`. Defaults to
            `None`.

    Returns:
        Str.

    Example:

    >>> best = {"class": "gull", "label": 3, "probability": 0.61}
    >>> sentence([best], best)
    'gull, 61.0 %'
    >>> sentence([best], None, min_confidence=0.9)
    'None of these: gull, the most probable, has 61.0 %, less than 90.0 %.'
    """
    best = top[0]
    if answer is None and shortfall is not None:
        text = f"None of these: {shortfall}."
    elif answer is None:
        text = (
            f"None of these: {best['class']}, the most probable, has {percent(best)}, less than "
            f"{100 * min_confidence:.1f} %."
        )
    elif answer.get("level", "class") != "class":
        text = (
            f"{answer['level']} {answer['class']}, {percent(answer)} (which one is not sure: "
            f"{best['class']} has {percent(best)})"
        )
    else:
        text = f"{answer['class']}, {percent(answer)}"
        groups = answer.get("levels", {})
        text += "".join(
            f"; {level} {each['class']}, {percent(each)}" for level, each in groups.items()
        )
    return one_line(text)


def percent(entry):
    """The probability of an entry as a person reads it.

    Example:

    >>> percent({"probability": 0.971})
    '97.1 %'
    """
    return f"{100 * entry['probability']:.1f} %"
