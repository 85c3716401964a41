"""A whole folder: all its images, and its lists where it is a published data set."""

import contextlib
import os

import numpy as np

from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.data.loaders.find import PUBLISHED, find_layout, official_splits
from cin_keras.data.loaders.folders import list_images
from cin_keras.data.shards import from_shards
from cin_keras.data.verify.images import Finding, Verification, verify_images


def verify_folder(folder, *, max_pixels=MAX_PIXELS, verbose=1):
    """Checks all images of a folder, and its lists where it has one of the known layouts.

    Args:
        folder: Path of a folder of images at any depth, or of Stanford Cars, CUB-200-2011,
            FGVC-Aircraft or Oxford-IIIT Pet, or of shards.
        max_pixels: As for `verify_images`. Defaults to 178,956,970.
        verbose: As for `verify_images`. Defaults to 1.

    Returns:
        `(verification, others)`: a `Verification` of all images and the paths of the files that
        are no images by their names.

    Example:

    ```python
    verification, _ = verify_folder("data/stanford_cars")
    ```
    """
    images, others, problems = list_images(folder)
    problems = [Finding(*problem) for problem in problems]
    listed = []
    with contextlib.suppress(ValueError):  # a folder without folders has no layout
        layout = find_layout(folder)
        # Of a published one the lists, too: labels, boxes, and whether every photograph is there.
        load = from_shards if layout == "shards" else getattr(PUBLISHED.get(layout), "load", None)
        for split in official_splits(layout, folder, {}).values() if load else ():
            try:
                listed.append(load(folder, split))
            except (OSError, ValueError) as error:
                problems.append(Finding(str(folder), f"its {split} list is wrong: {error}"))
    samples = listed[0].join(*listed[1:]) if listed else None
    known = {os.path.normpath(path) for path in samples.paths} if listed else ()
    parts = [
        verify_images(part, max_pixels=max_pixels, verbose=verbose)
        for part in (samples, [path for path in images if path not in known])
        if part
    ]
    verification = Verification(
        readable=np.concatenate([np.zeros(0, bool), *(part.readable for part in parts)]),
        problems=sum((part.problems for part in parts), tuple(problems)),
        notes=sum((part.notes for part in parts), ()),
    )
    return verification, others
