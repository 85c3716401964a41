"""`python -m cin_keras.data.verify DIR`: finds the images of a folder that will not decode.

Exit status: 0 if all is well, 1 if there are problems, 2 if there is nothing to check.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import sys

import numpy as np

from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.data.find import LOADERS, find_layout, official_splits
from cin_keras.data.folders import is_image, walk
from cin_keras.data.verification import Finding, Verification, verify_images

# The layouts whose lists are checked, too: labels, boxes, and whether every photograph is there.
LISTED = ("stanford_cars", "cub_200_2011", "fgvc_aircraft", "oxford_iiit_pet")


def list_images(folder):
    """The files of a folder, at any depth, that are images by their names.

    Links to folders are followed; hidden files and what systems leave in folders are left alone,
    and so are folders in it in which this package has written results.

    Args:
        folder: Path.

    Returns:
        `(images, others, problems)`: sorted paths of what has the name of an image (a folder or
        a broken link among them, which no image is), sorted paths of all other files and of what
        begins with a dot, and a `Finding` for each folder that cannot be listed.

    Example:

    >>> import os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> open(os.path.join(folder, "labels.csv"), "w").close()
    >>> [os.path.basename(path) for path in list_images(folder)[1]]
    ['labels.csv']
    """
    images, others, problems = [], [], []
    for found in walk(folder):
        images += [*found.images, *(inner for inner in found.folders if is_image(inner))]
        others += [*found.others, *found.hidden]
        if found.problem and not found.is_loop:
            problems.append(Finding(str(found.path), found.problem))
    images, others = (
        sorted(os.path.normpath(path) for path in paths) for paths in (images, others)
    )
    return images, others, problems


def verify_folder(folder, *, max_pixels=MAX_PIXELS, verbose=1):
    """Checks all images of a folder, and its lists where it has one of the known layouts.

    Args:
        folder: Path of a folder of images at any depth, or of Stanford Cars, CUB-200-2011 or
            FGVC-Aircraft.
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
    listed = []
    with contextlib.suppress(ValueError):  # a folder without folders has no layout
        layout = find_layout(folder)
        for split in official_splits(layout, folder, {}).values() if layout in LISTED else ():
            try:
                listed.append(LOADERS[layout](folder, split))
            except (OSError, ValueError) as error:
                problems.append(Finding(str(folder), f"its {split} list is wrong: {error}"))
    parts = []
    if listed:
        samples = listed[0].join(*listed[1:])
        samples = dataclasses.replace(
            samples, paths=[os.path.normpath(path) for path in samples.paths]
        )
        parts.append(verify_images(samples, max_pixels=max_pixels, verbose=verbose))
        known = set(samples.paths)
        images = [path for path in images if path not in known]
    if images:
        parts.append(verify_images(images, max_pixels=max_pixels, verbose=verbose))
    verification = Verification(
        readable=np.concatenate([np.zeros(0, bool), *(part.readable for part in parts)]),
        problems=sum((part.problems for part in parts), tuple(problems)),
        notes=sum((part.notes for part in parts), ()),
    )
    return verification, others


def main(arguments=None):
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cin_keras.data.verify",
        description="Finds the images of a folder that will not decode, or will decode wrongly.",
        epilog="Exit status: 0 all is well, 1 problems, 2 nothing to check.",
    )
    parser.add_argument("folder", metavar="DIR", help="images at any depth, or a known data set")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="larger images are a problem (%(default)s)",
    )
    args = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a file's name may be what a terminal cannot show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if args.max_pixels < 1:
        parser.error(f"--max-pixels must be at least 1. Received: {args.max_pixels}")
    if not os.path.isdir(args.folder):
        parser.error(f"There is no folder {args.folder!r}.")
    try:
        verification, others = verify_folder(args.folder, max_pixels=args.max_pixels)
    except KeyboardInterrupt:
        print("\nInterrupted: nothing is reported.", file=sys.stderr)
        return 130
    if not len(verification.readable) and not verification.problems:
        parser.error(f"There is no image in {args.folder!r}.")
    verification = dataclasses.replace(
        verification,
        problems=tuple(
            dataclasses.replace(f, message=f.message.replace("max_pixels=", "--max-pixels "))
            for f in verification.problems
        ),
    )
    if args.json:
        print(json.dumps(as_dict(args.folder, verification, others), indent=2))
    else:
        print(verification)
        if others:
            names = ", ".join(repr(os.path.relpath(path, args.folder)) for path in others[:3])
            more = ", …" if len(others) > 3 else ""
            print(f"{len(others)} other files, not looked at: {names}{more}")
    return 1 if verification.problems else 0


def as_dict(folder, verification, others):
    """What `--json` prints: a dict of plain types."""
    return {
        "folder": folder,
        "images": len(verification.readable),
        "problems": [dataclasses.asdict(finding) for finding in verification.problems],
        "notes": [dataclasses.asdict(finding) for finding in verification.notes],
        "other_files": len(others),
    }


if __name__ == "__main__":
    sys.exit(main())
