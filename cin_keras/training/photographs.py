"""The photographs of a run: whether they can be read, and whether they are those of another run."""

import concurrent.futures
import functools
import hashlib
import os
import re

from cin_keras.data import UnreadableImage
from cin_keras.data.samples import fingerprint
from cin_keras.progress import progress_bar
from cin_keras.text import first_few
from cin_keras.threads import available_cores
from cin_keras.training.command import decisive

_SHOW_PROGRESS_ABOVE = 1000  # photographs to read


def with_content(samples):
    """The indices (list of int) of samples whose file is there and not empty.

    Example:

    >>> with_content(cin_keras.data.Samples(["none.jpg"], [0], ["cat"]))
    []
    """

    def size(index):
        try:
            return samples.encoded_size(index)
        except UnreadableImage:
            return 0

    return [index for index in range(len(samples)) if size(index)]


def check_readable(name, samples, on_error="raise"):
    """Finds images that cannot be decoded before a run has taken hours.

    Args:
        name: Str, what the samples are for: `"test"`.
        samples: `Samples`.
        on_error: `"raise"`, or `"skip"`: then some may be bad, but not all. Defaults to
            `"raise"`.

    Returns:
        List of the indices of those that can be decoded.

    Raises:
        ValueError: If too many cannot be decoded; it names the first.

    Example:

    >>> check_readable("test", cin_keras.data.drawn_cars(images_per_class=1, image_size=32))[-1]
    11
    """

    def error_of(index):
        try:
            samples.read(index)
        except UnreadableImage as error:
            return error

    bad, good = [], []
    with (
        concurrent.futures.ThreadPoolExecutor(available_cores()) as threads,
        progress_bar(len(samples), "image", len(samples) > _SHOW_PROGRESS_ABOVE) as bar,
    ):
        for index, error in enumerate(threads.map(error_of, range(len(samples)))):
            bad += [error] if error else []
            good += [] if error else [index]
            bar.update()
    if not bad:
        return good
    first, number = bad[0], len(bad)
    if number == len(samples):
        raise ValueError(
            f"None of the {number} {name} images can be decoded. The first: {first.name!r} "
            f"({first.reason})"
        )
    if on_error == "raise":
        others = f" So it is with {number} of the {len(samples)} {name} images." * (number > 1)
        raise ValueError(f"{first}{others} `on_error` skip goes on without.")
    return good


def only_readable(name, samples, on_error="raise"):
    """The samples that can be decoded; prints which cannot, and are left out.

    Args:
        name: As for `check_readable`, and so are the next.
        samples: `Samples`.
        on_error: Str. Defaults to `"raise"`.

    Returns:
        `Samples`.

    Raises:
        ValueError: As `check_readable`.

    Example:

    >>> len(only_readable("test", cin_keras.data.drawn_cars(images_per_class=1, image_size=32)))
    12
    """
    good = samples.subset(check_readable(name, samples, on_error))
    for path in sorted(set(samples.paths) - set(good.paths)):
        print(f"Left out, as it cannot be decoded: {path!r}")
    return good


# Settings that a run may go on without: places, and what may change. The photographs and the names
# of the classes are compared themselves.
OPEN = ("data_dir", "split_file", "class_names", "download", "on_error", "max_pixels")


class SamePhotographs:
    """For `SaveTrainingState`: does not let a run go on with other photographs of the same names.

    Single files may have changed since, repaired or damaged ones; they are named.

    Attributes:
        samples: `Samples`, those to train on.

    Example:

    ```python
    photographs = SamePhotographs()
    photographs.samples = train
    state = SaveTrainingState("state.zip", callbacks=[photographs])
    ```
    """

    samples = None

    @functools.cached_property
    def sizes(self):
        """List of int, in bytes, 0 of a file that cannot be read."""
        if self.samples is None:
            return []
        if self.samples.encoded is not None:
            return [self.samples.encoded_size(i) for i in range(len(self.samples))]
        return [os.path.getsize(p) if os.path.isfile(p) else 0 for p in self.samples.paths]

    def get_state(self, epoch=None, logs=None):
        return {"sizes": self.sizes}

    def set_state(self, state, epoch, model):
        """Prints which photographs have changed.

        Raises:
            ValueError: If most of them have.
        """
        pairs = enumerate(zip(state["sizes"], self.sizes))
        changed = [self.samples.paths[i] for i, (before, now) in pairs if before != now]
        if changed:
            sentence = (
                f"{len(changed)} of the {len(self.sizes)} photographs to train on are not what "
                f"they were when the run began: {first_few(changed)}."
            )
            if 2 * len(changed) > len(self.sizes):
                raise ValueError(f"{sentence} For a new run with them, leave `resume` out.")
            print(sentence)


def what_is_trained(settings, train, validation):
    """What must agree for a run to be gone on with, however it was typed.

    Args:
        settings: Dict of all that the run was asked to do.
        train: `Samples` to train on.
        validation: `Samples` that choose the best epoch.

    Returns:
        Dict of what JSON can hold: settings without those in `OPEN`, networks and weights by what
        they are, and the photographs.

    Example:

    >>> cars = cin_keras.data.drawn_cars(images_per_class=1, image_size=32)
    >>> what_is_trained({"data_dir": "./cars", "backbone": "ResNet-50"}, cars, cars)["backbone"]
    'resnet50'
    """
    found = {name: value for name, value in decisive(settings).items() if name not in OPEN}
    if isinstance(found.get("backbone"), str):
        found["backbone"] = re.sub("[-_]", "", found["backbone"]).lower()
    if os.path.isfile(found.get("weights") or ""):
        with open(found["weights"], "rb") as file:
            found["weights"] = f"file {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
    found["photographs"] = (
        f"{len(train)} to train on, {len(validation)} to validate on, "
        f"checksum {fingerprint(train, validation)}"
    )
    return found
