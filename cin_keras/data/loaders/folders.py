"""What lies in a folder of photographs, at any depth: images by their names, and all else."""

import dataclasses
import os
import pathlib
import re
import unicodedata

from cin_keras.data.decoding import IMAGE_SUFFIXES
from cin_keras.files import holds_results
from cin_keras.text import first_few, warn

# What systems and programs leave in folders, in lower case; what begins with a dot is hidden, too.
_LEFT_BY_SYSTEMS = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "lost+found", "found.000",
    "$recycle.bin", "recycler", "recycled", "@recycle", "#recycle", "@eadir", "#snapshot", "@tmp",
    "@recently-snapshot", "@__thumb", "@sharebin", "lost.dir", "__pycache__",
    "system volume information", "network trash folder", "temporary items",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder and what lies in it itself; all paths in natural order.

    Args:
        path: `pathlib.Path`.
        folders: Tuple of `pathlib.Path`, without those of results and those that systems leave.
        images: Tuple of `pathlib.Path`, the files that are images by their names.
        others: Tuple of `pathlib.Path`, the other files.
        hidden: Tuple of `pathlib.Path`, files and folders that nobody has put there on purpose.
        results: Tuple of `pathlib.Path`, folders in which this package has written results.
        problem: Str, why the folder cannot be listed, or `None`.
        is_loop: Bool, whether that is because it is a link to a folder that it lies in.
    """

    path: pathlib.Path
    folders: tuple = ()
    images: tuple = ()
    others: tuple = ()
    hidden: tuple = ()
    results: tuple = ()
    problem: str | None = None
    is_loop: bool = False


def look_into(folder):
    """Lists a folder; one that cannot be listed is empty, and says why.

    Args:
        folder: Str or path.

    Returns:
        `Folder`.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("10.jpg", "2.jpg", "notes.txt", "Thumbs.db"):
    ...     (folder / name).touch()
    >>> found = look_into(folder)
    >>> [path.name for path in found.images], [path.name for path in found.others]
    (['2.jpg', '10.jpg'], ['notes.txt'])
    """
    kinds = {name: [] for name in ("folders", "images", "others", "hidden", "results")}
    problem = None
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                kinds[_kind(entry)].append(pathlib.Path(entry.path))
    except OSError as error:
        problem = f"the folder cannot be listed: {error.strerror}"
    ordered = {
        kind: tuple(sorted(paths, key=lambda path: natural_order(path.name.strip())))
        for kind, paths in kinds.items()
    }
    return Folder(pathlib.Path(folder), problem=problem, **ordered)


def walk(folder, above=()):
    """Yields a `Folder` for a folder and each in it, in natural order; links are followed.

    A link to a folder that it lies in is not: it is yielded as a `Folder` with a problem.

    Args:
        folder: Str or path.
        above: Sequence of str, the real paths of the folders above. Defaults to none.
    """
    real = os.path.realpath(folder)
    if real in above:
        reason = "it is a link to a folder that it lies in, and is not followed"
        yield Folder(pathlib.Path(folder), problem=reason, is_loop=True)
        return
    found = look_into(folder)
    yield found
    for inner in found.folders:
        yield from walk(inner, (*above, real))


def list_images(folder):
    """The files of a folder, at any depth, that are images by their names.

    Links to folders are followed; hidden files and what systems leave in folders are left alone,
    and so, with a warning, are folders in it in which this package has written results.

    Args:
        folder: Path.

    Returns:
        `(images, others, problems)`: sorted paths (str) of what has the name of an image (a folder
        or a broken link among them, which no image is), sorted paths of all other files and of
        what begins with a dot, and for each folder that cannot be listed its path and why.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> open(os.path.join(folder, "labels.csv"), "w").close()
    >>> [os.path.basename(path) for path in list_images(folder)[1]]
    ['labels.csv']
    """
    images, others, problems, results = [], [], [], []
    for found in walk(folder):
        results += found.results
        images += [*found.images, *(inner for inner in found.folders if is_image(inner))]
        others += [*found.others, *found.hidden]
        if found.problem and not found.is_loop:
            problems.append((str(found.path), found.problem))
    warn_of_results(folder, results)
    return sorted(map(os.path.normpath, images)), sorted(map(os.path.normpath, others)), problems


def warn_of_results(folder, results):
    """One sentence on the folders (paths) in it in which this package has written, if there are any."""
    if results:
        names = first_few([path.relative_to(folder).as_posix() for path in results])
        warn(f"What is in {folder} and holds results of cin_keras, no photographs, is left out: {names}.")


def is_image(path):
    """Whether a file (str or path) is an image by its name."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def class_name(name):
    """The name of a class from that of its folder or from a cell: one form for the same letters.

    Systems write "é" as one character or as two; blanks at an end are nobody's intention; and names
    on a disk need be no text at all.

    Args:
        name: Str, of nested folders with `/` between.

    Returns:
        Str in Unicode's form C; bytes that are no UTF-8 are written as `\\xe9`.

    Example:

    >>> class_name("cafe\\u0301 ") == "café"
    True
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "/".join(part.strip() for part in unicodedata.normalize("NFC", text).split("/"))


def check_differ_in_more_than_case(names, where):
    """Raises ValueError if two names are the same word in two cases ("Cat", "cat").

    Single letters are left alone: "A" and "a" may well be two classes.

    Args:
        names: Iterable of str, different from each other.
        where: Str, what has these classes, for the message.
    """
    seen = {}
    for name in sorted(names):
        other = seen.setdefault(name.casefold(), name)
        if other != name and len(name) > 1:
            raise ValueError(
                f"{where} has the classes {other!r} and {name!r}, whose names differ in upper and "
                "lower case only. Give them one name, or two that differ."
            )


def natural_order(text):
    """A key for `sorted`: "image 2" before "image 10", upper and lower case together.

    Args:
        text: Str.

    Returns:
        What to sort by.

    Example:

    >>> sorted(["Image 10", "image 2"], key=natural_order)
    ['image 2', 'Image 10']
    """
    words = re.split(r"0*([0-9]+)", text.casefold())
    # Of numbers without zeros in front the longer is the larger, however many digits it has.
    return [(len(word), word) if i % 2 else word for i, word in enumerate(words)], text


def _kind(entry):
    """Where in a `Folder` an `os.DirEntry` belongs."""
    if entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS:
        return "hidden"
    try:
        if entry.is_dir():
            return "results" if holds_results(entry.path) else "folders"
    except OSError:  # a link to itself
        pass
    return "images" if is_image(entry.name) else "others"
