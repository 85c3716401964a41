"""Images that cannot be decoded: stop at the first, or leave them out and say so."""

import contextlib
import itertools
import sys
import threading
import warnings
import weakref

import keras
import numpy as np

from cin_keras.checks import check_choice, check_int
from cin_keras.data.decoding import UnreadableImage


class Reader:
    """Decodes the samples of a pipeline and does as `on_error` says. Safe in parallel threads.

    Args:
        samples: `Samples`, or what `cin_keras.data.with_cache` makes of them.
        on_error: `"raise"` or `"skip"`. Defaults to `"raise"`.
        max_pixels: As for `cin_keras.data.decode`, or `None` for the limit of the samples. Defaults
            to `None`.
        replacements: With `"skip"`, a function from epoch, position and index to the indices
            that may stand in for that image, the best first; or `None` to leave it out. Defaults
            to `None`.
        at_least: As for `Samples.read`. Defaults to `None`.

    Attributes:
        skipped: `SkippedImages`.
        shortens: Bool, whether images may be left out without another in their place.

    Raises:
        ValueError: If `on_error` is neither, or `max_pixels` is no positive int.
    """

    def __init__(
        self, samples, on_error="raise", max_pixels=None, replacements=None, at_least=None
    ):
        self.samples = samples
        self.on_error = check_choice("on_error", on_error, ("raise", "skip"))
        self.max_pixels = check_int("max_pixels", max_pixels, least=1, or_none=True)
        self.replacements = replacements
        self.at_least = at_least
        self.skipped = SkippedImages(samples)
        self.shortens = on_error == "skip" and replacements is None

    def __call__(self, epoch, position, index):
        """The image at a place of an epoch.

        Returns:
            `(image, index)`: what `samples.read` returns and the number of the sample it shows, which
            may be another's; or `None` where the image is left out.

        Raises:
            ValueError: For a bad image with `"raise"`; with `"skip"`, if none is good.
        """
        if self.on_error == "raise":
            return self._read(index), index
        others = self.replacements(epoch, position, index) if self.replacements else ()
        for candidate in itertools.chain([index], others):
            image = self._try(candidate)
            if image is not None:
                return image, candidate
        if self.replacements is None and len(self.skipped) < len(self.samples):
            return None
        raise ValueError(
            f"None of the {len(self.samples)} images can be decoded. The first: "
            f"{self.samples.paths[0]!r} ({self.skipped.reasons[0]})"
        )

    def shown(self, epoch, position, index):
        """The sample that was shown at a place of an epoch (int or `None`), without reading it."""
        if index not in self.skipped:
            return index
        others = self.replacements(epoch, position, index) if self.replacements else ()
        return next((other for other in others if other not in self.skipped), None)

    def _read(self, index):
        return self.samples.read(index, max_pixels=self.max_pixels, at_least=self.at_least)

    def _try(self, index):
        """The image, or `None` if it is bad; a bad one is never read again."""
        if index in self.skipped:
            return None
        try:
            return self._read(index)
        except UnreadableImage as error:
            self.skipped.add(index, error.reason)
        except MemoryError:
            self.skipped.add(index, "there is not enough memory to decode it")
        return None


class SkippedImages:
    """The images that a pipeline with `on_error="skip"` has left out so far.

    The first one gives a warning at once. All are listed, each once, at the end of training by
    the callback `ReportSkipped`; without it when the data set is deleted or the process ends.

    Args:
        samples: The `Samples` of the pipeline.

    Attributes:
        reasons: Dict, index of the sample → what is wrong with it.

    Example:

    >>> skipped = SkippedImages(cin_keras.data.Samples(["a.jpg"], [0], ["cat"]))
    >>> len(skipped), str(skipped)
    (0, 'No image was left out.')
    """

    def __init__(self, samples):
        self.samples = samples
        self.reasons = {}
        self._lock = threading.Lock()
        self._silent = False
        self._left = np.bincount(samples.labels, minlength=samples.num_classes)
        self._lines = {}  # one a file, although a file may be several samples: line → index
        # Apart from this object, so that its end can report what nobody has reported.
        self._unreported = {}
        weakref.finalize(self, _report, self._unreported, len(samples))

    def __len__(self):
        """How many samples were left out."""
        return len(self.reasons)

    def __contains__(self, index):
        return index in self.reasons

    def __str__(self):
        return _summary(self._lines, len(self.samples))

    def add(self, index, reason):
        """Notes sample `index` (int), which is bad because of `reason` (str)."""
        path = self.samples.paths[index]
        with self._lock:
            if index in self.reasons:
                return
            first = not self.reasons
            self.reasons[index] = reason
            label = self.samples.labels[index]
            self._left[label] -= 1
            line = f"  {path!r}: {reason}"
            if line not in self._lines:
                self._lines[line] = index
                if not self._silent:
                    self._unreported[line] = index
        if first and not self._silent:
            warnings.warn(
                f"Left out {path!r} ({reason}). It and any others are listed at the end.",
                stacklevel=2,
            )
        if not self._silent and not self._left[label] and len(self.reasons) < len(self.samples):
            warnings.warn(
                f"No image is left of the class {self.samples.class_names[label]!r}: not one of them "
                "can be decoded.",
                stacklevel=2,
            )

    def remaining(self):
        """The `Samples` without those left out, in order: what an evaluation has seen.

        Example:

        ```python
        data = cin_keras.data.image_dataset(test, on_error="skip")
        scores = model.predict(data)
        seen = data.skipped.remaining()  # len(seen) == len(scores)
        ```
        """
        return self.samples.subset([i for i in range(len(self.samples)) if i not in self])

    def silence(self):
        """From now on it neither warns nor lists: the caller tells of `reasons` itself."""
        self._silent = True

    def report(self):
        """Lists on standard error those left out that no report has listed yet."""
        with self._lock:
            _report(self._unreported, len(self.samples))


@contextlib.contextmanager
def lengths_may_be_unknown(*data):
    """A context in which Keras does not warn that data from which images are left out run out.

    Args:
        *data: What `fit`, `evaluate` or `predict` was given; that of `on_error="skip"` is known by
            its `skipped`. A warning about anything else is shown as ever.
    """
    with warnings.catch_warnings():
        if any(hasattr(part, "skipped") for part in data):
            warnings.filterwarnings("ignore", "Your input ran out of data")
        yield


class ReportSkipped(keras.callbacks.Callback):
    """Lists at the end of training the images that were left out.

    Args:
        *datasets: What `pair_dataset` and `image_dataset` returned.

    Raises:
        TypeError: If one of them is something else.

    Example:

    ```python
    pairs = cin_keras.data.pair_dataset(samples, on_error="skip")
    model.fit(pairs, callbacks=[cin_keras.data.ReportSkipped(pairs)])
    ```
    """

    # It reads no logs: with this, Keras need not wait for the numbers of every batch.
    async_safe = True

    def __init__(self, *datasets):
        super().__init__()
        for dataset in datasets:
            if not isinstance(getattr(dataset, "skipped", None), SkippedImages):
                raise TypeError(
                    "ReportSkipped needs data sets as pair_dataset or image_dataset returned "
                    f"them. Received: {dataset!r}"
                )
        self.skipped = [dataset.skipped for dataset in datasets]

    def on_train_end(self, logs=None):
        for skipped in self.skipped:
            skipped.report()


def replacements(labels, seed, epoch, position, index, partner=None):
    """Which samples may stand in for one that cannot be decoded, the best first.

    Others of its class come first, in an order that is a function of seed, epoch and position;
    then its partner in the pair, if it is of the same class; then all other classes. The two of
    a pair draw from opposite ends of one order: where both are bad, they get two different
    photographs as long as their class has two.

    Args:
        labels: Integers of shape `(samples,)`.
        seed: Int ≥ 0.
        epoch: Int ≥ 0.
        position: Int ≥ 0, the image's place in the epoch; 2 k and 2 k + 1 are a pair.
        index: Int, the sample.
        partner: Int, the other sample of the pair, or `None`. Defaults to `None`.

    Returns:
        An iterator of ints, every sample but `index` once.

    Example:

    >>> list(replacements(np.array([0, 0, 0, 1]), seed=0, epoch=0, position=0, index=0, partner=1))
    [2, 1, 3]
    """
    # A stream of its own (3) beside those of the order, of the pairs and of the crops (2).
    rng = np.random.default_rng([seed, epoch, position // 2, 3])
    same_class = labels == labels[index]
    others = np.flatnonzero(same_class)
    others = rng.permutation(others[(others != index) & (others != partner)])
    yield from (others if position % 2 == 0 else others[::-1]).tolist()
    if partner is not None and partner != index and same_class[partner]:
        yield int(partner)
    yield from rng.permutation(np.flatnonzero(~same_class)).tolist()


def _summary(lines, total):
    if not lines:
        return "No image was left out."
    first = f"Left out {len(lines)} of {total} images that cannot be decoded:"
    return "\n".join([first, *sorted(lines, key=lines.get)])


def _report(unreported, total):
    """Prints the lines and forgets them."""
    if unreported:
        print("\n" + _summary(unreported, total), file=sys.stderr, flush=True)
        unreported.clear()
