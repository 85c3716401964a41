"""`Gallery`: what is known, as embeddings of photographs, to which anything can be added."""

import collections
import difflib
import itertools
import os
import warnings
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from cin_keras.checks import (
    check_bool,
    check_choice,
    check_int,
    check_list,
    check_names,
    check_number,
    check_path,
    check_size,
    short,
)
from cin_keras.data import Samples
from cin_keras.data.samples import check_samples
from cin_keras.evaluation.calibration import fit_temperature
from cin_keras.explain import embedding_contrast_map
from cin_keras.gallery import index
from cin_keras.gallery.calibration import (
    GalleryCalibration,
    auroc,
    check_photographs,
    choose_threshold,
    false_alarms_at_recall,
)
from cin_keras.gallery.embedder import Embedder, fingerprint_of, of_length_1
from cin_keras.gallery.nearest import nearest, nearest_of_each_class
from cin_keras.gallery.storage import read_gallery, write_gallery
from cin_keras.text import first_few, plural

WAYS = ("means", "nearest")
# Of similarities, before `calibrate` has found another: that of DINO's classifier by neighbours
# (Caron et al., ICCV 2021).
TEMPERATURE = 0.07


class Neighbours(NamedTuple):
    """The photographs most similar to each of some images, the most similar first.

    Attributes:
        similarities: float32 `(images, k)`, cosines from -1 to 1.
        paths: Array of str `(images, k)`.
        classes: Array of str `(images, k)`.
        indices: int64 `(images, k)`, the numbers of the photographs in the gallery.
    """

    similarities: np.ndarray
    paths: np.ndarray
    classes: np.ndarray
    indices: np.ndarray


class Classified(NamedTuple):
    """What images show, by a gallery.

    Attributes:
        classes: List of str, the most likely class of each image, or `None` for none of these.
        probabilities: float32 `(images, classes)`, in the order of the gallery's `class_names`;
            rows sum to 1. They take for granted that it is one of them.
        similarities: float32 `(images,)`, what the threshold is about: the cosine to the class mean
            or the photograph that is nearest.
    """

    classes: list
    probabilities: np.ndarray
    similarities: np.ndarray


class GalleryContrast(NamedTuple):
    """What decided between two classes of a gallery, image by image.

    Attributes:
        maps: float32 `(images, height, width)` at the feature map's resolution: positive where the
            image is like the class, negative where it is like the other one; the mean is the
            difference of the two similarities.
        classes: List of str, the most likely class of each image.
        others: List of str, that with the next highest similarity, or of `None` in a gallery of
            one class, where nothing is set against it.
    """

    maps: np.ndarray
    classes: list
    others: list


class Gallery:
    """Photographs that are known, by their embeddings: new classes without training.

    An embedding is what the model's classifier sees of a photograph, the spatial mean of `Z`
    mostly, whitened if the model has a `whitening` (every run of `cin-keras train` and of the
    recipes fits one) and scaled to length 1, as in what `CIN.export` writes. Photographs are added,
    of classes that the model was trained on or of others; others still are then compared with
    them. In memory a gallery takes
    `4 × width` bytes a photograph (4.1 GB for a million of 1024 numbers) and its path; while
    photographs are added or removed, the embeddings are there twice.

    Args:
        model: `cin_keras.CIN` or `NTS`, or `None` for a gallery of embeddings made elsewhere.
            Defaults to `None`.
        samples: `Samples` to add, or `None` to begin empty. Defaults to `None`.
        by: How `classify` decides. `"means"`: by the nearest class mean, which needs few
            photographs a class and no like number of them; `"nearest"`: by the `k` most similar
            photographs, each a vote for its class, weighted by its similarity. Defaults to
            `"means"`.
        k: Int ≥ 1, for `"nearest"`; of a smaller gallery all have a vote. Defaults to 5.
        image_size: Int or `(height, width)` in pixels, at which photographs are shown to a model
            that takes any size. Defaults to `None`, the model's.
        batch_size: Int ≥ 1, photographs at a time. Defaults to 32.
        exact: Bool, whether more than 100,000 photographs, too, are all looked at. Else the first
            search makes an index of them (`pip install ".[index]"`), with which later ones are
            many times as fast and find 99 of 100 of the same ten neighbours; it takes half the
            memory of the embeddings beside them. Defaults to `False`.

    Raises:
        ValueError: For an argument out of range; as `add`.

    Attributes:
        class_names: Tuple of str, the classes that have photographs here, in the order in which
            they were added.
        labels: int32 `(images,)`, the class number of each photograph.
        paths: Tuple of str, of the photographs.
        embeddings: float32 `(images, width)`, of length 1; read it, do not change it.
        threshold: Float, the similarity below which `classify` says none of these, or `None`; of
            `calibrate`, or set by hand.
        temperature: Float, how sharp the probabilities are; of `calibrate`.
        model_hash: Str, which names the model, or `None` without one.
        model_path: Str, where the model lies, as seen from the gallery's file, or `None`; noted
            down for the command line.
        skipped: Dict, path → why, of the photographs that the last `add` or `calibrate` left out
            because they cannot be decoded.

    Example:

    >>> gallery = Gallery.from_embeddings([[1, 0], [0.9, 0.1], [0, 1]], ["cat", "cat", "dog"])
    >>> gallery
    Gallery(2 classes, 3 images, 1–2 a class, 2 numbers an image, by class means)
    >>> gallery.classify(np.array([[0.2, 1.0]])).classes
    ['dog']
    >>> gallery.search(np.array([[0.2, 1.0]]), k=1).paths.tolist()
    [['2']]
    """

    def __init__(
        self,
        model=None,
        samples=None,
        *,
        by="means",
        k=5,
        image_size=None,
        batch_size=32,
        exact=False,
    ):
        self.exact = check_bool("exact", exact)
        self._embedder = None if model is None else Embedder(model, image_size, batch_size)
        self.model_hash = self._embedder and self._embedder.fingerprint
        self.image_size = self._embedder and self._embedder.image_size
        self._by, self._k = check_choice("by", by, WAYS), check_int("k", k, least=1)
        self._threshold, self._temperature = None, TEMPERATURE
        self.model_path, self.skipped, self._folder = None, {}, None
        self._class_names, self._paths = [], []
        self.labels = np.empty(0, "int32")
        self.embeddings = np.empty((0, self._embedder.width if model is not None else 0), "float32")
        self._means = self._index = None
        if samples is not None:
            self.add(samples)

    @classmethod
    def from_embeddings(cls, embeddings, classes, paths=None, model=None, **kwargs):
        """A gallery of embeddings that are there already.

        Args:
            embeddings: As for `add_embeddings`, and so are the next two.
            classes: Sequence of str.
            paths: Sequence of str, or `None`. Defaults to `None`.
            model: As for `Gallery`, the model that made them. Defaults to `None`.
            **kwargs: As for `Gallery`.

        Returns:
            `Gallery`.
        """
        gallery = cls(model, **kwargs)
        gallery.add_embeddings(embeddings, classes, paths)
        return gallery

    @property
    def class_names(self):
        return tuple(self._class_names)

    @property
    def paths(self):
        return tuple(self._paths)

    @property
    def num_classes(self):
        """Int, how many classes there are."""
        return len(self._class_names)

    @property
    def model(self):
        """The `CIN` or `NTS` that makes the embeddings, or `None`."""
        return self._embedder and self._embedder.model

    @property
    def by(self):
        """Str, how `classify` decides; setting it gives up the calibration."""
        return self._by

    @by.setter
    def by(self, by):
        self._by = check_choice("by", by, WAYS)
        self._threshold, self.temperature = None, TEMPERATURE

    @property
    def k(self):
        """Int, how many photographs vote; setting it gives up the calibration."""
        return self._k

    @k.setter
    def k(self, k):
        self._k = check_int("k", k, least=1)
        self._threshold, self.temperature = None, TEMPERATURE

    @property
    def threshold(self):
        return self._threshold

    @threshold.setter
    def threshold(self, threshold):
        if threshold is not None:
            threshold = check_number("threshold", threshold, least=-1)
        self._threshold = threshold

    @property
    def temperature(self):
        return self._temperature

    @temperature.setter
    def temperature(self, temperature):
        self._temperature = check_number("temperature", temperature, least=1e-6)

    def __len__(self):
        """How many photographs there are."""
        return len(self._paths)

    def __repr__(self):
        counts = np.bincount(self.labels, minlength=self.num_classes)
        each = f", {counts.min()}–{counts.max()} a class" if len(self) else ""
        how = "by class means" if self.by == "means" else f"by the {self.k} nearest"
        threshold = "" if self.threshold is None else f", none of these below {self.threshold:.3f}"
        return (
            f"Gallery({plural(self.num_classes, 'class', 'classes')}, "
            f"{plural(len(self), 'image')}{each}, "
            f"{plural(self.embeddings.shape[1], 'number')} an image, {how}{threshold})"
        )

    # === What is in it ===

    def add(self, samples, *, on_error="raise", resume_file=None, progress=None):
        """Adds photographs; those whose path is there already are left out, with a warning.

        Classes are matched by their names. What is new belongs to the same model, so nothing is
        trained. `calibrate` again when classes have come that are like others.

        Args:
            samples: `Samples`, as a loader lists them.
            on_error: `"raise"` or `"skip"`: what to do about a photograph that cannot be decoded.
                Of those left out a warning tells, and `skipped`. Defaults to `"raise"`.
            resume_file: Path of a file that grows by every batch, so that whoever is broken off
                goes on by the same call: as large as the embeddings are in memory. Delete it
                once the gallery is saved. Defaults to `None`, no file.
            progress: Bool, whether to show a bar; `None` for one if standard error is a terminal.
                Defaults to `None`.

        Returns:
            Int, how many were added.

        Raises:
            ValueError: Without a model; for what are no samples; for a photograph that cannot be
                decoded; if the model was trained since the gallery was made; for a `resume_file`
                of something else.
            OSError: If that cannot be written.
            FloatingPointError: If the model's embeddings are not finite.
        """
        check_samples(samples)
        check_choice("on_error", on_error, ("raise", "skip"))
        self._check_model("add")
        self.skipped = {}
        new = self._new_among(samples)
        if not len(new):
            return 0
        if len(new) < len(samples):
            samples = samples.subset(new)
        embeddings, read = self._embed_readable(samples, on_error, resume_file, progress)
        if not read:
            return 0
        if self.skipped:
            samples = samples.subset(read)
        classes = [samples.class_names[label] for label in samples.labels]
        self._append(embeddings, classes, samples.paths)
        return len(samples)

    def add_embeddings(self, embeddings, classes, paths=None):
        """Adds embeddings that are there already.

        Args:
            embeddings: Array `(images, width)`; they are scaled to length 1.
            classes: Sequence of str, the class of each.
            paths: Sequence of str, what each is called, all different and not in the gallery yet;
                or `None` for their numbers. Defaults to `None`.

        Returns:
            Int, how many were added.

        Raises:
            ValueError: For another width than that of the gallery, a number that is not finite,
                other numbers of classes or paths, or a path that is there already.
        """
        embeddings = self._check_embeddings(embeddings)
        classes = list(check_names("classes", classes))
        if paths is None:
            taken = set(self._paths)
            numbers = (n for n in itertools.count(len(self)) if str(n) not in taken)
            paths = [str(number) for number in itertools.islice(numbers, len(embeddings))]
        else:
            paths = check_list("paths", paths, in_order=True)
            texts = [os.fspath(path) if isinstance(path, os.PathLike) else path for path in paths]
            paths = list(check_names("paths", texts))
        for name, values in (("classes", classes), ("paths", paths)):
            if len(values) != len(embeddings):
                raise ValueError(
                    f"`{name}` must hold one for each of {len(embeddings)} embeddings. "
                    f"Received: {len(values)}"
                )
        counts = collections.Counter([*self._paths, *paths])
        twice = [path for path in paths if counts[path] > 1]
        if twice:
            raise ValueError(
                f"`paths` must differ, and from those in the gallery. Received: {twice[0]!r} twice"
            )
        self._append(embeddings, classes, paths)
        return len(embeddings)

    def remove(self, item):
        """Takes out a class or a photograph.

        Args:
            item: Str, the name of a class, which goes with all its photographs, or the path of a
                photograph.

        Returns:
            Int, how many photographs were taken out.

        Raises:
            ValueError: If there is no such class or photograph, or one of each.
        """
        name = str(item)
        is_it = np.array([os.path.abspath(path) == os.path.abspath(name) for path in self._paths])
        if name in self._class_names and is_it.any():
            raise ValueError(
                f"{name!r} is the name of a class and the path of a photograph: for the photograph, "
                "write its path in another way, such as './' before it."
            )
        if name in self._class_names:
            gone = self.labels == self._class_names.index(name)
        elif is_it.any():
            gone = is_it
        else:
            near = difflib.get_close_matches(name, [*self._class_names, *self._paths])
            advice = f"near it: {', '.join(map(repr, near))}" if near else "see `class_names`"
            raise ValueError(
                f"The gallery has neither a class nor a photograph {name!r} ({advice})."
            )
        kept = np.flatnonzero(~gone)
        present = np.unique(self.labels[kept])
        self.embeddings = self.embeddings[kept]
        self.labels = np.searchsorted(present, self.labels[kept]).astype("int32")
        self._class_names = [self._class_names[label] for label in present]
        self._paths = [self._paths[i] for i in kept]
        self._changed()
        return int(gone.sum())

    # === What it is asked ===

    def embed(self, images):
        """Embeddings, as the gallery compares them.

        Args:
            images: Array `(images, height, width, 3)`, RGB from 0 to 255, as large as the model's;
                `Samples`; the path of a photograph, or a list of paths; or embeddings,
                `(images, width)`.

        Returns:
            float32 `(images, width)`, of length 1.

        Raises:
            ValueError: For another shape, a photograph that cannot be decoded, or images where
                there is no model.
        """
        if isinstance(images, (str, os.PathLike)):
            images = [images]
        if isinstance(images, np.ndarray) and images.ndim == 1 and images.dtype.kind in "UO":
            images = images.tolist()
        if isinstance(images, (list, tuple)) and any(
            isinstance(each, (str, os.PathLike)) for each in images
        ):
            images = Samples(images, np.zeros(len(images), int), ["unknown"])
        if isinstance(images, Samples) or hasattr(images, "class_names"):
            return self._check_model("embed").of_samples(images)[0]
        images = _as_array("images", images)
        if images.ndim == 2:
            return self._check_embeddings(images, "images")
        if images.ndim == 1:
            raise ValueError(
                "`images` must be a batch, images[None] for one. "
                f"Received: images.shape={images.shape}"
            )
        return self._check_model("embed")(images)

    def search(self, images, k=None):
        """The photographs that are most similar.

        Args:
            images: As for `embed`.
            k: Int from 1 to the number of photographs in the gallery. Defaults to `None`, 10, or
                all of a smaller gallery.

        Returns:
            `Neighbours`.

        Raises:
            ValueError: If the gallery is empty, or `k` larger than it; as `embed`.
        """
        self._check_filled()
        k = min(10, len(self)) if k is None else check_int("k", k, least=1, most=len(self))
        similarities, indices = self._nearest(self.embed(images), k)
        return Neighbours(
            similarities,
            _named(self._paths, indices),
            _named(self._class_names, self.labels[indices]),
            indices,
        )

    def classify(self, images):
        """What images show: the most likely class of each, or none of these.

        Args:
            images: As for `embed`.

        Returns:
            `Classified`.

        Raises:
            ValueError: If the gallery is empty; as `embed`.
        """
        self._check_filled()
        embeddings = self.embed(images)
        if self.by == "means":
            cosines = embeddings @ self._class_means().T
            similarities = cosines.max(axis=1, initial=-1)
            powers = np.exp((cosines - similarities[:, None]) / np.float32(self.temperature))
        else:
            found, indices = self._nearest(embeddings, min(self.k, len(self)))
            similarities = found[:, 0]
            votes = np.exp((found - similarities[:, None]) / np.float32(self.temperature))
            powers = np.zeros((len(found), self.num_classes), "float32")
            rows = np.arange(len(found))[:, None]
            np.add.at(powers, (rows, self.labels[indices]), votes)
        probabilities = powers / powers.sum(axis=1, keepdims=True)
        known = similarities >= (-np.inf if self.threshold is None else self.threshold)
        classes = [
            self._class_names[label] if is_known else None
            for label, is_known in zip(probabilities.argmax(axis=1), known)
        ]
        return Classified(classes, probabilities, similarities)

    def class_contrast(self, images):
        """Which part of each image decided between its class and the next: new classes, too.

        The class means of both, or with `by="nearest"` the photograph of each that is most like
        the image, are set against each other.

        Args:
            images: Array `(images, height, width, 3)`, as for `embed`.

        Returns:
            `GalleryContrast`.

        Raises:
            TypeError, ValueError: If the gallery is empty or has no model; as
                `cin_keras.explain.embedding_contrast_map`.
        """
        self._check_filled()
        model = self._check_model("explain").model
        embeddings = self.embed(images)
        images = model.in_own_format(images)
        classes = self.classify(embeddings).probabilities.argmax(axis=1)
        similarities = self._of_classes(embeddings)
        similarities[np.arange(len(classes)), classes] = -np.inf
        others = similarities.argmax(axis=1) if self.num_classes > 1 else None
        of_classes = self._most_like(embeddings, classes)
        of_others = None if others is None else self._most_like(embeddings, others)
        maps = embedding_contrast_map(model, images, of_classes, of_others)
        return GalleryContrast(maps, self._names(classes), self._names(others, len(classes)))

    def calibrate(self, samples, false_alarm_rate=0.05, on_error="raise"):
        """Chooses the threshold of "none of these", and says what it costs.

        A false alarm is an unknown photograph that is taken for a known class. Photographs of
        classes that the gallery does not have stand for the unknown. Without any, every photograph
        is looked at once more with its own class taken out of the gallery.

        Sets `threshold`, and for class means `temperature`, with which probabilities are as high
        as they are right (see `cin_keras.evaluation.fit_temperature`). Where an index is asked
        (`exact`), similarities are its own, in half precision; but without photographs of other
        classes they are exact.

        Args:
            samples: `Samples` of photographs that are not in the gallery: for validation, say.
            false_alarm_rate: Float in [0, 1], how many of the unknown may be taken for a known
                class. Defaults to 0.05.
            on_error: As for `add`. Defaults to `"raise"`.

        Returns:
            `GalleryCalibration`.

        Raises:
            ValueError: If the gallery has less than two classes; if no photograph is of a class
                that it has, or can be decoded; if some are in the gallery; as `embed`.
        """
        check_samples(samples)
        rate = check_number("false_alarm_rate", false_alarm_rate, least=0, most=1)
        check_choice("on_error", on_error, ("raise", "skip"))
        check_photographs(samples, self._paths, self._class_names)
        number = {name: label for label, name in enumerate(self._class_names)}
        labels = np.array([number.get(name, -1) for name in samples.class_names])[samples.labels]
        is_known = labels >= 0
        self._check_model("embed")
        embeddings, read = self._embed_readable(samples, on_error)
        labels, is_known = labels[read], is_known[read]
        if not is_known.any():
            raise ValueError("No photograph of a class that the gallery has can be decoded.")
        of_known, labels = embeddings[is_known], labels[is_known]
        pretended = bool(is_known.all())
        cosines = self._of_classes(of_known) if pretended or self.by == "means" else None
        if self.by == "means":
            self.temperature = fit_temperature(labels, cosines)
        named = self.classify(of_known)
        if pretended:
            # Both of one rounding: where the nearest is of another class, they are equal.
            known = cosines.max(axis=1)
            cosines[np.arange(len(labels)), labels] = -np.inf
            unknown = cosines.max(axis=1)
        else:  # by what `classify` asks, which may be an index
            known = named.similarities
            unknown = self.classify(embeddings[~is_known]).similarities
        self.threshold = choose_threshold(unknown, rate)
        right = named.probabilities.argmax(axis=1) == labels
        accepted = known >= self.threshold
        return GalleryCalibration(
            threshold=self.threshold,
            false_alarm_rate=float(np.mean(unknown >= self.threshold)),
            known_refused=float(np.mean(~accepted)),
            accuracy=float(np.mean(right & accepted)),
            accuracy_without=float(np.mean(right)),
            auroc=auroc(known, unknown),
            false_alarms_at_95=false_alarms_at_recall(known, unknown),
            known=len(known),
            unknown=len(unknown),
            pretended=pretended,
        )

    # === Its file ===

    def save(self, path):
        """Writes the gallery as one file of NumPy arrays, whole; it holds no code.

        Relative paths of photographs hold when it is loaded in another folder, also where both
        have moved together: they are absolute there. Saved from there, what lies below the first
        folder is relative to it again.

        Args:
            path: Str or path that ends in `.npz`.

        Returns:
            The `pathlib.Path` of the file.

        Raises:
            ValueError: If the name has another ending, or the model was trained since.
            OSError: If it cannot be written.
        """
        if self._embedder is not None:
            self._embedder.check_unchanged()
        about = {
            "model_hash": self.model_hash,
            "model_path": self.model_path,
            "image_size": self.image_size,
            "by": self.by,
            "k": self.k,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "folder": self._folder,
        }
        return write_gallery(
            path, self.embeddings, self.labels, self._class_names, self._paths, about
        )

    @classmethod
    def load(cls, path, model=None, batch_size=32):
        """Reads a gallery that `save` has written.

        Args:
            path: Str or path.
            model: The `CIN` or `NTS` that it was made with, or `None` for a gallery that takes
                embeddings alone. Defaults to `None`.
            batch_size: As for `Gallery`. Defaults to 32.

        Returns:
            `Gallery`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, no gallery, or of another model.
        """
        embeddings, labels, class_names, paths, about = read_gallery(path)
        try:
            gallery = cls(by=about["by"], k=about["k"])
            gallery.threshold = about["threshold"]
            gallery.temperature = about["temperature"]
            gallery._folder = about["folder"]
            gallery.model_hash, size = about["model_hash"], about["image_size"]
            if about.get("model_path") is not None:
                check_path("model_path", about["model_path"])
                gallery.model_path = about["model_path"]  # as it is: it may be an address
            if not isinstance(gallery.model_hash, (str, type(None))):
                raise ValueError
            gallery.image_size = None if size is None else check_size("image_size", size)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{str(path)!r} is damaged: write it again.") from error
        if model is not None:
            own = fingerprint_of(model)
            is_other = gallery.model_hash not in (None, own)
            if is_other or len(embeddings) and embeddings.shape[1] != model.embedding_width:
                raise ValueError(
                    f"{str(path)!r} was made with another model ({gallery.model_hash}) than this "
                    f"one ({own}), whose embeddings mean something else: give that one, or make a "
                    "new gallery."
                )
            embedder = Embedder(model, size, batch_size)
            gallery._embedder, gallery.model_hash = embedder, embedder.fingerprint
            gallery.image_size = embedder.image_size
        gallery.embeddings, gallery.labels = embeddings, labels
        gallery._class_names, gallery._paths = class_names, paths
        return gallery

    # === Parts ===

    def _check_model(self, verb):
        """Returns the embedder; ValueError if there is none, or its model was trained since."""
        if self._embedder is None:
            raise ValueError(
                f"To {verb} images, the gallery must know the model: Gallery(model) or "
                "Gallery.load(path, model). Without it, it takes embeddings alone."
            )
        self._embedder.check_unchanged()
        return self._embedder

    def _check_filled(self):
        if not len(self):
            raise ValueError("The gallery is empty: add(samples) first.")

    def _check_embeddings(self, embeddings, name="embeddings"):
        """As float32 of length 1; ValueError unless they are finite and fit."""
        embeddings = _as_array(name, embeddings)
        width = self.embeddings.shape[1] or None
        fits = embeddings.ndim == 2 and embeddings.dtype.kind in "fiu" and embeddings.shape[1]
        if not fits or width not in (None, embeddings.shape[1]):
            raise ValueError(
                f"`{name}` must be numbers of shape (images, {width or 'width'}). "
                f"Received: shape={embeddings.shape}, dtype={embeddings.dtype}"
            )
        with np.errstate(over="ignore"):
            embeddings = embeddings.astype("float32")
        finite = np.isfinite(embeddings).all(axis=1) & embeddings.any(axis=1)
        if not finite.all():
            raise ValueError(
                f"`{name}` must be finite in float32, and not 0 alone. Received: another row "
                f"{np.flatnonzero(~finite)[0]} ({np.sum(~finite)} such rows)"
            )
        return of_length_1(embeddings)

    def _new_among(self, samples):
        """The indices of the samples that are not in the gallery; a warning tells of the others."""
        classes = dict(zip(map(os.path.abspath, self._paths), self._names(self.labels)))
        new, again, other = [], [], []
        for i, (path, label) in enumerate(zip(samples.paths, samples.labels)):
            key, name = os.path.abspath(path), samples.class_names[label]
            if key not in classes:
                new.append(i)
                if samples.crops is None:  # of which a photograph may have several
                    classes[key] = name
                continue
            again.append(path)
            if classes[key] != name:
                other.append(path)
        if again:
            text = f"Left out {plural(len(again), 'photograph')} that the gallery has already"
            if other:
                text += (
                    f", {len(other)} of them under another class, such as {other[0]!r} (in Python, "
                    "gallery.remove(path) first changes its class)"
                )
            warnings.warn(f"{text}: {first_few([repr(path) for path in again])}", stacklevel=3)
        return new

    def _embed_readable(self, samples, on_error, resume_file=None, progress=False):
        """Embeddings of the photographs that can be read, and their indices; `skipped` has the others."""
        embeddings, reasons = self._embedder.of_samples(samples, on_error, resume_file, progress)
        self.skipped = {samples.paths[i]: reason for i, reason in reasons.items()}
        if reasons:
            lines = [f"{path!r} ({reason})" for path, reason in self.skipped.items()]
            warnings.warn(
                f"Left out {len(lines)} of {len(samples)} photographs that cannot be decoded: "
                f"{first_few(lines)}. All are in `skipped`.",
                stacklevel=3,
            )
            read = [i for i in range(len(samples)) if i not in reasons]
            return embeddings[read], read
        return embeddings, range(len(samples))

    def _append(self, embeddings, classes, paths):
        self._class_names = list(dict.fromkeys([*self._class_names, *classes]))
        number = {name: label for label, name in enumerate(self._class_names)}
        labels = np.array([number[name] for name in classes], "int32")
        if not len(self):
            self.embeddings = embeddings
        else:
            self.embeddings = np.concatenate([self.embeddings, embeddings])
        self.labels = np.concatenate([self.labels, labels])
        self._paths += paths
        self._changed()

    def _changed(self):
        self._means = self._index = None

    def _nearest(self, queries, k):
        if len(self) > index.LARGE and not self.exact and index.faiss_is_here():
            if self._index is None:
                self._index = index.CellIndex(self.embeddings)
            return self._index.nearest(queries, k)
        return nearest(queries, self.embeddings, k)

    def _class_means(self):
        if self._means is None:
            members = (np.ones(len(self), "float32"), (self.labels, np.arange(len(self))))
            self._means = of_length_1(csr_matrix(members) @ self.embeddings)
        return self._means

    def _of_classes(self, embeddings):
        """Similarities `(images, classes)`, to the means or to the nearest photograph of each."""
        if self.by == "means":
            return embeddings @ self._class_means().T
        return nearest_of_each_class(embeddings, self.embeddings, self.labels, self.num_classes)

    def _most_like(self, embeddings, labels):
        """`(images, width)`: what of a class, one for each image, the image is compared with."""
        if self.by == "means":
            return self._class_means()[labels]
        found = []
        for row, label in zip(embeddings, labels):
            own = self.embeddings[self.labels == label]
            found.append(own[np.argmax(own @ row)])
        return np.array(found)

    def _names(self, labels, count=None):
        return [None] * count if labels is None else [self._class_names[i] for i in labels]


def _as_array(name, values):
    """As an array of numbers; ValueError for what is none."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        array = array.astype("float32")
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: {short(values)} of type "
            f"{type(values).__name__}"
        )
    return array


def _named(names, indices):
    """An array of str in the shape of the indices; those names alone are looked at."""
    return np.array([names[i] for i in indices.ravel()], str).reshape(indices.shape)
