"""Which photographs the arguments of a command mean, and where figures of them may lie."""

import codecs
import os
import pathlib
import sys

from cin_keras.cli.parser import FIGURES
from cin_keras.data.loaders.folders import is_image, list_images, look_into
from cin_keras.data.shards import shard_splits
from cin_keras.files import RESULTS_MARK, holds_results


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


def check_output(output, inputs):
    """Refuses to write a text over what a command reads, or under the name of a photograph.

    Args:
        output: Str, the file to write, or `None` for standard output.
        inputs: Iterable of str, the files that are read.

    Raises:
        FileNotFoundError: If its folder is not there.
        ValueError: If it is one of them, a model or a folder, or its name is that of an image.

    Example:

    >>> check_output("classes.csv", ["gull.jpg"])
    """
    if output is None:
        return
    if is_image(output):
        raise ValueError(
            f"A text is written, and its name is that of a photograph. Received: --output {output!r}"
        )
    folder = os.path.dirname(os.path.abspath(output))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder!r}. Received: --output {output!r}")
    if os.path.isdir(output):
        raise ValueError(f"The output is a file. Received: --output {output!r}, a folder")
    if not os.path.isfile(output):
        return
    with open(output, "rb") as file:
        if file.read(4) in (b"PK\x03\x04", b"\x89HDF"):
            raise ValueError(
                "A text is written, and there is a model, a gallery or an archive of that name, which "
                f"would be lost: give another, or delete it. Received: --output {output!r}"
            )
    for path in inputs:
        if os.path.isfile(path) and os.path.samefile(output, path):
            raise ValueError(
                f"The output would take the place of {path!r}, which is read: give it a name of its "
                f"own. Received: --output {output!r}"
            )


def check_apart(output, paths):
    """Refuses to write figures among photographs, for which they would be taken the next time.

    A new or empty folder within theirs is fine: what is written there is marked as results.

    Args:
        output: `pathlib.Path`, the folder to write to.
        paths: List of str, folders of photographs, or photographs; others are left alone.

    Raises:
        ValueError: If it holds photographs, is one of those folders, or in one, and holds something
            else than results.

    Example:

    >>> check_apart(pathlib.Path("explanations"), ["photographs"])
    """
    place = output.resolve()
    own = tuple(f"-{kind}.png" for kind in FIGURES)
    images = [image.name for image in look_into(output).images if not image.name.endswith(own)]
    if images and not holds_results(output):
        raise ValueError(
            "The figures would lie among the photographs there and be taken for some: give a folder "
            f"of their own. Received: --output {str(output)!r}, where {images[0]!r} is"
        )
    for path in map(pathlib.Path, paths):
        folder = path if path.is_dir() else path.parent
        inside = place == folder.resolve() or path.is_dir() and place.is_relative_to(path.resolve())
        if inside and output.is_dir() and any(output.iterdir()) and not holds_results(output):
            raise ValueError(
                f"The figures would lie among the photographs of {str(folder)!r} and be taken for "
                f"some: give a folder of their own. Received: --output {str(output)!r}"
            )


def mark_as_results(folder):
    """Marks a folder (`pathlib.Path`) that holds at most hidden files and notes as one of results."""
    if all(x.is_file() and (x.name[0] == "." or x.suffix in (".txt", ".md")) for x in folder.iterdir()):
        (folder / RESULTS_MARK).touch()


def _what_it_holds(folder):
    if shard_splits(folder):
        return "the folder holds shards, which `evaluate` and `index` read: give photographs"
    return "the folder holds no image"


def _lines_of_standard_input():
    """The paths on standard input; names in another encoding stay what they are on the disk."""
    mark = codecs.BOM_UTF8  # which editors put in front of the first
    for line in sys.stdin.buffer:
        line, mark = line.removeprefix(mark).rstrip(b"\r\n"), b""
        if line:
            yield os.fsdecode(line)
