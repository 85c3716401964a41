"""Which photographs the arguments of a command mean, and where figures of them may lie."""

import os
import pathlib
import sys

from cin_keras.data.loaders.folders import list_images
from cin_keras.data.shards import shard_splits
from cin_keras.files import holds_results


def list_photographs(arguments):
    """The files that arguments name, in the order given, duplicates included.

    Args:
        arguments: List of str: files, folders (all images in them, at any depth, sorted), or `-`
            for a list on standard input, one path a line, which may name folders, too.

    Returns:
        `(paths, problems)`: list of str, and a list of `(path, reason)` of folders that cannot
        be listed or hold no image.

    Raises:
        ValueError: If standard input names nothing, and nothing else is named.

    Example:

    >>> list_photographs(["b.jpg", "a.jpg", "b.jpg"])
    (['b.jpg', 'a.jpg', 'b.jpg'], [])
    """
    paths, problems = [], []
    for argument in arguments:
        for path in _lines_of_standard_input() if argument == "-" else [argument]:
            if not os.path.isdir(path):
                paths.append(path)
                continue
            images, _, unlisted = list_images(path)
            paths += images
            problems += unlisted
            if not images and not unlisted:
                problems.append((path, _what_it_holds(path)))
    if not paths and not problems:
        raise ValueError("Standard input names no photograph: give it one path a line.")
    return paths, problems


def check_apart(output, folders):
    """Refuses to write figures among photographs, for which they would be taken the next time.

    A new or empty folder within theirs is fine: what is written there is marked as results.

    Args:
        output: `pathlib.Path`, the folder to write to.
        folders: List of str, folders of photographs; others are left alone.

    Raises:
        ValueError: If it is one of them, or in one, and holds something else than results.

    Example:

    >>> check_apart(pathlib.Path("explanations"), ["photographs"])
    """
    place = output.resolve()
    for folder in map(pathlib.Path, folders):
        inside = folder.is_dir() and place.is_relative_to(folder.resolve())
        if inside and output.is_dir() and any(output.iterdir()) and not holds_results(output):
            raise ValueError(
                f"The figures would lie among the photographs of {str(folder)!r} and be taken for "
                f"some: give a folder of their own. Received: --output {str(output)!r}"
            )


def _what_it_holds(folder):
    if shard_splits(folder):
        return "the folder holds shards, which `evaluate` and `index` read: give photographs"
    return "the folder holds no image"


def _lines_of_standard_input():
    """The paths on standard input; names in another encoding stay what they are on the disk."""
    for line in sys.stdin.buffer:
        line = line.rstrip(b"\r\n")
        if line:
            yield os.fsdecode(line)
