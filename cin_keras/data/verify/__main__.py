"""`python -m cin_keras.data.verify DIR`: finds the images of a folder that will not decode.

Exit status: 0 if all is well, 1 if there are problems, 2 if there is nothing to check.
"""

import argparse
import dataclasses
import json
import os
import sys

from cin_keras.checks import positive
from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.data.verify import verify_folder
from cin_keras.streams import tidy_streams
from cin_keras.text import first_few


@tidy_streams()
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
        type=positive(int),
        default=MAX_PIXELS,
        metavar="N",
        help="larger images are a problem (%(default)s)",
    )
    args = parser.parse_args(arguments)
    if not os.path.isdir(args.folder):
        parser.error(f"There is no folder {args.folder!r}.")
    verification, others = verify_folder(args.folder, max_pixels=args.max_pixels)
    if not len(verification.readable) and not verification.problems:
        parser.error(f"There is no image in {args.folder!r}.")
    problems = [
        dataclasses.replace(found, message=found.message.replace("max_pixels=", "--max-pixels "))
        for found in verification.problems
    ]
    verification = dataclasses.replace(verification, problems=tuple(problems))
    if args.json:
        found = {
            "folder": args.folder,
            "images": len(verification.readable),
            "problems": [dataclasses.asdict(finding) for finding in problems],
            "notes": [dataclasses.asdict(finding) for finding in verification.notes],
            "other_files": len(others),
        }
        print(json.dumps(found, indent=2))
        return 1 if problems else 0
    print(verification)
    if others:
        names = first_few([repr(os.path.relpath(path, args.folder)) for path in others], 3)
        print(f"{len(others)} other files, not looked at: {names}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
