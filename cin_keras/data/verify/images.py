"""One pass over a data set that finds every image which will not decode, or will decode wrongly."""

import concurrent.futures
import dataclasses
import os

import numpy as np
from PIL import Image

from cin_keras.checks import check_int, check_list
from cin_keras.data.decoding import (
    MAX_PIXELS,
    UnreadableImage,
    is_transparent,
    open_image,
    to_rgb,
)
from cin_keras.data.samples import Samples
from cin_keras.data.verify.duplicates import digest
from cin_keras.data.verify.jpeg_warnings import jpeg_warnings
from cin_keras.progress import progress_bar
from cin_keras.text import plural
from cin_keras.threads import available_cores

_SMALL = 8  # pixels, below which nothing can be recognised


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is to be said of one image, or of a list of images.

    Args:
        path: Str, the file, the name of an image in memory, or the folder or class meant.
        message: Str, one sentence.
    """

    path: str
    message: str

    def __str__(self):
        return f"{self.path!r}: {self.message}"


@dataclasses.dataclass(frozen=True, eq=False)
class Verification:
    """What `verify_images` has found.

    Args:
        readable: Bools of shape `(images,)`, whether each image decodes, and rightly. For
            `samples.subset(verification.readable)`.
        problems: Tuple of `Finding`: images that will not decode or will decode wrongly.
        notes: Tuple of `Finding`: what is used as it should be but may not be meant.

    Example:

    >>> verification = verify_images(cin_keras.data.drawn_cars(images_per_class=2), verbose=0)
    >>> print(verification)
    24 images checked: 0 problems, 0 notes
    """

    readable: np.ndarray
    problems: tuple
    notes: tuple

    def __str__(self):
        lines = [f"problem: {finding}" for finding in self.problems]
        lines += [f"note: {finding}" for finding in self.notes]
        counts = (
            plural(len(self.readable), "image") + " checked",
            plural(len(self.problems), "problem"),
            plural(len(self.notes), "note"),
        )
        return "\n".join([*lines, f"{counts[0]}: {counts[1]}, {counts[2]}"])


def verify_images(samples, *, max_pixels=MAX_PIXELS, verbose=1):
    """Decodes every image, in as many threads as there are cores, and says what is wrong.

    A problem is an image that `cin_keras.data.decode` refuses; a JPEG that libjpeg decodes with a
    warning, so that a part may be missing or wrong; a PNG whose checksums do not fit; and
    a box or a crop that misses its image. A note is what decodes as it should: a name with another format's
    ending; frames and pages that are not used; CMYK whose polarity the file does not tell; broken
    EXIF data; an image wholly transparent, of one colour, or of a few pixels; the same image more
    than once; a class with one image or none.

    A JPEG has no checksum: a few bits changed in its middle may give another picture without any
    warning.

    Args:
        samples: `Samples`, or a sequence of paths.
        max_pixels: Int ≥ 1, as for `cin_keras.data.decode`. Defaults to 178,956,970.
        verbose: Int, 1 for a progress bar, 0 for none. Defaults to 1.

    Returns:
        `Verification`, with findings in the order of the images.

    Example:

    ```python
    verification = cin_keras.data.verify_images(samples)
    print(verification)
    samples = samples.subset(verification.readable)
    ```
    """
    check_int("max_pixels", max_pixels, least=1)
    labelled = isinstance(samples, Samples)
    if not labelled:
        if isinstance(samples, (str, os.PathLike)):
            raise ValueError(
                "`samples` must be Samples or a list of paths; a folder is checked by `python -m "
                f"cin_keras.data.verify {samples}`. Received: samples={str(samples)!r}"
            )
        paths = check_list("samples", samples)
        if not paths:
            return Verification(np.zeros(0, bool), (), ())
        samples = Samples(paths, np.zeros(len(paths), int), ["image"])
    inspected, at_once = [], 16 * available_cores()
    # Threads, not processes: Pillow and TensorFlow decode without holding Python's lock, and
    # nothing need be started, copied or forked beside a running TensorFlow.
    with (
        concurrent.futures.ThreadPoolExecutor(available_cores()) as threads,
        progress_bar(len(samples), "image", verbose) as bar,
    ):
        # A slice at a time, so that not all files are in memory at once.
        for start in range(0, len(samples), at_once):
            indices = range(start, min(start + at_once, len(samples)))
            results = list(threads.map(lambda i: _inspect(samples, i, max_pixels), indices))
            _listen_to_libjpeg(results, threads)
            inspected += results
            bar.update(len(results))
    found = list(zip(samples.paths, inspected, strict=True))
    notes = [Finding(path, note) for path, result in found for note in result.notes]
    notes += _repeated(samples, inspected, labelled)
    if labelled:
        notes += _class_notes(samples)
    return Verification(
        readable=np.array([result.problem is None for result in inspected]),
        problems=tuple(Finding(path, result.problem) for path, result in found if result.problem),
        notes=tuple(notes),
    )


@dataclasses.dataclass
class _Inspected:
    problem: str | None = None
    notes: list = dataclasses.field(default_factory=list)
    digest: bytes | None = None
    jpeg: bytes | None = None  # to be looked at further


def _inspect(samples, index, max_pixels):
    """Decodes one image and looks at it."""
    path, result = samples.paths[index], _Inspected()
    try:
        data = samples.encoded_bytes(index)
        with open_image(data, name=path, max_pixels=max_pixels) as image:
            image.load()
            exif = image.info.get("exif")  # which `to_rgb` may remove
            rgb = samples._cut(to_rgb(image), index)
            result.notes = _notes(image, rgb, path, exif)
        if image.format == "PNG":
            with open_image(data, name=path, max_pixels=max_pixels) as image:
                image.verify()  # the checksums, which decoding does not look at
    except UnreadableImage as error:
        result.problem = error.reason
        return result
    except MemoryError:
        result.problem = "decoding it takes more memory than there is"
        return result
    result.digest = digest(data)
    result.jpeg = data if image.format in ("JPEG", "MPO") else None
    if samples.boxes is not None:
        left, top, right, bottom = samples.boxes[index].tolist()
        box = f"its box ({left:g}, {top:g}, {right:g}, {bottom:g})"
        size = f"its {rgb.width}×{rgb.height} pixels"
        if right <= 0 or bottom <= 0 or left >= rgb.width or top >= rgb.height:
            result.problem = f"{box} lies outside of {size}"
        elif min(left, top) < -1 or right > rgb.width + 1 or bottom > rgb.height + 1:
            result.notes.append(f"{box} reaches beyond {size}")
    return result


def _listen_to_libjpeg(results, threads):
    """Turns libjpeg's warnings into problems, and lets go of the JPEGs."""
    jpegs = [result for result in results if result.jpeg is not None]
    for result, warning in zip(jpegs, jpeg_warnings([r.jpeg for r in jpegs], threads.map)):
        if warning and not result.problem:
            result.problem = (
                "its compressed data are damaged, so part of the picture may be missing or wrong "
                f"(libjpeg: {warning})"
            )
        result.jpeg = None


def _notes(image, rgb, path, exif):
    """What to say of an image that decodes.

    `image` is as its file has it, `rgb` as it will be seen; `exif` are bytes or `None`.
    """
    notes = []
    suffix = os.path.splitext(path)[1].lower()
    named = Image.registered_extensions().get(suffix)
    if named and named != image.format and {named, image.format} != {"JPEG", "MPO"}:
        notes.append(f"it is {image.format} in spite of its name, and is used as such")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # whose others are the same at other sizes
        notes.append(f"it has {frames} frames or pages, of which the first is used")
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        notes.append(
            "it is CMYK and does not say whether it is inverted; it is taken as if it were, so "
            "see whether its colours are right"
        )
    if exif is not None and _exif_is_broken(exif):
        notes.append("its EXIF data are broken, so it is taken to be upright")
    if min(rgb.size) < _SMALL:
        notes.append(f"it has {rgb.width}×{rgb.height} pixels")
    elif all(low == high for low, high in rgb.getextrema()):
        hidden = is_transparent(image) and image.convert("RGBA").getextrema()[3] == (0, 0)
        notes.append("it is wholly transparent" if hidden else "it has one colour all over")
    if image.mode.startswith("I;16"):
        brightest = int(np.asarray(image).max())
        if brightest < 4096 and not getattr(image, "tag_v2", {}).get(258, (16,))[0] < 16:
            notes.append(
                f"it has 16 bits but no value above {brightest} of 65535, so it is nearly black"
            )
    return notes


def _exif_is_broken(exif):
    try:
        Image.Exif().load(exif)
    except Exception:  # Pillow raises many kinds.
        return True
    return False


def _repeated(samples, inspected, labelled):
    """A note for each image that is the same, byte for byte, as an earlier one."""
    first, notes = {}, []
    for index, result in enumerate(inspected):
        if result.digest is None:
            continue
        earlier = first.setdefault(result.digest, index)
        if earlier == index:
            continue
        path, other = samples.paths[index], samples.paths[earlier]
        same = "it is listed twice" if path == other else f"it is the same image as {other!r}"
        labels = samples.labels[index], samples.labels[earlier]
        if labelled and labels[0] != labels[1]:
            names = [samples.class_names[label] for label in labels]
            same += f", but of another class: {names[0]!r}, not {names[1]!r}"
        notes.append(Finding(path, same))
    return notes


def _class_notes(samples):
    """A note for each class with one image or none, and if there is one class only."""
    counts = np.bincount(samples.labels, minlength=samples.num_classes)
    notes = [
        Finding(
            samples.class_names[label],
            "the class has no image: it is never predicted rightly nor counted as a mistake"
            if count == 0
            else "the class has one image: its positive pairs show the same photograph twice",
        )
        for label, count in enumerate(counts)
        if count < 2
    ]
    if np.count_nonzero(counts) == 1:
        name = samples.class_names[samples.labels[0]]
        notes.append(Finding(name, "all images are of this class: there is nothing to tell apart"))
    return notes
