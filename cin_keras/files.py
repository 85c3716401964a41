"""Files and folders that appear whole or not at all.

What is written goes into a partial file beside, under a name that no other process uses, and is
moved to its place at the end.
"""

import contextlib
import json
import os
import pathlib
import shutil
import stat
import tempfile
import time
import uuid
import zipfile
import zlib

from cin_keras.fonts import no_warnings_of_glyphs, suit_fonts

# A hidden file that says of its folder: figures lie here, and no photographs.
RESULTS_MARK = ".cin_keras_results"
# What reading an archive, or a part of one, raises where it is damaged.
NOT_WHOLE = zipfile.BadZipFile, zlib.error, EOFError


@contextlib.contextmanager
def whole_file(path):
    """Replaces a file at once: a reader, or whoever comes after a crash, sees the old or the new.

    A link is followed: what it leads to is replaced. A device or a pipe, such as `/dev/null`, is
    written to as it is. Of several who write at a time, the last to end wins.

    Args:
        path: Str or path of the file; its folder must exist.

    Yields:
        A path in the same folder, with the same suffix, to be written by the caller; of a device
        or a pipe its own. When the `with` block ends it is on the disk and moved to `path`; if
        the block raises, it is deleted.

    Raises:
        OSError: If it cannot be written (a full disk, say), in one sentence.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with whole_file(folder / "numbers.txt") as partial:
    ...     _ = partial.write_text("1 2 3")
    >>> [path.name for path in folder.iterdir()]
    ['numbers.txt']
    """
    with named_if_not_written(path, is_whole=True):
        place = pathlib.Path(path)
        if _takes_a_stream(place):
            yield place
            return
        place = pathlib.Path(os.path.realpath(place))
        with _partial(place) as partial:
            yield partial
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            if place.exists():
                shutil.copymode(place, partial)
            os.replace(partial, place)
            _sync_folder(place.parent)


@contextlib.contextmanager
def named_if_not_written(path, is_folder=False, is_whole=False):
    """Says in one sentence, in place of the system's words, that a file cannot be written.

    Args:
        path: Str or path of what is written in the `with` block.
        is_folder: Bool, whether it is to be a folder. Defaults to `False`.
        is_whole: Bool, whether a file that is there is replaced at the end alone. Defaults to
            `False`.

    Raises:
        OSError: With that sentence, if the block raises one.

    Example:

    >>> try:
    ...     with named_if_not_written("/dev/full"), open("/dev/full", "w") as file:
    ...         _ = file.write("1 2 3")
    ... except OSError as error:
    ...     print(error)
    '/dev/full' cannot be written (No space left on device). Make room, or make the folder writable.
    """
    try:
        yield
    except OSError as error:
        cause = error.__cause__ if isinstance(error, _NotWritten) else error
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f"{str(path)!r} cannot be written: there is no folder {folder!r}. Make it, or give "
                "another."
            ) from error
        if os.path.isdir(path) and not is_folder:
            raise IsADirectoryError(
                f"{str(path)!r} cannot be written: it is a folder. Give the name of a file."
            ) from error
        there = "; the file of before is there, whole" if is_whole and os.path.isfile(path) else ""
        raise _NotWritten(
            f"{str(path)!r} cannot be written ({cause.strerror or cause}){there}. Make room, or make "
            "the folder writable."
        ) from cause


class _NotWritten(OSError):
    """What `named_if_not_written` raises: a `with` block of it around another names its own file."""


def megabytes(path):
    """Float, the size of a file, or of all that is in a folder.

    Example:

    >>> megabytes("/dev/null")
    0.0
    """
    path = pathlib.Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


@contextlib.contextmanager
def whole_folder(path):
    """Writes a folder that appears at once, in place of one that is there.

    Args:
        path: Str or path of the folder; its own folder must exist.

    Yields:
        A path beside it, where the caller makes the folder. When the `with` block ends it is moved
        to `path`; if the block raises, it is deleted, and what was at `path` stays.

    Raises:
        OSError: If it cannot be written, in one sentence.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with whole_folder(folder / "model") as partial:
    ...     partial.mkdir()
    >>> [path.name for path in folder.iterdir()]
    ['model']
    """
    place = pathlib.Path(os.path.realpath(path))
    with named_if_not_written(path, is_folder=True), _partial(place) as partial, _partial(place) as old:
        yield partial
        if place.is_dir():
            os.rename(place, old)
        try:
            os.rename(partial, place)
        except OSError:
            if old.is_dir():
                os.rename(old, place)
            raise


def remove_partial(path, untouched_for=None):
    """Removes what a killed process has left of `path`.

    Args:
        path: Str or path of the file or folder.
        untouched_for: Seconds; what another process may still be writing, as it has changed since, is
            left alone. Or `None`, where nobody else writes it. Defaults to `None`.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> (folder / "model.0a1b2c.partial.keras").touch()
    >>> remove_partial(folder / "model.keras")
    >>> list(folder.iterdir())
    []
    """
    place = pathlib.Path(os.path.realpath(path))
    begin, end = _begin(place), f".partial{place.suffix}"
    for entry in place.parent.iterdir() if place.parent.is_dir() else ():
        if entry.name.startswith(begin) and entry.name.endswith(end):
            with contextlib.suppress(FileNotFoundError):  # its process has just ended
                if untouched_for is None or time.time() - entry.stat().st_mtime > untouched_for:
                    _remove(entry)


def seen_from(folder, path):
    """A path as seen from a folder (str); whole where Windows has it on another drive.

    Example:

    >>> seen_from("runs", "runs/cars/model.keras")
    'cars/model.keras'
    """
    try:
        return os.path.relpath(path, folder)
    except ValueError:
        return os.path.abspath(path)


def write_text(path, text):
    """Writes a text file, whole.

    Args:
        path: Str or path of the file; its folder must exist.
        text: Str.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        OSError: As `whole_file`.

    Example:

    >>> import tempfile
    >>> write_text(tempfile.mkdtemp() + "/table.md", "| ± |").name
    'table.md'
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return pathlib.Path(path)


def write_json(path, value):
    """Writes a JSON file, whole.

    Args:
        path: Str or path of the file; its folder must exist.
        value: What JSON can hold.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        OSError: As `whole_file`.

    Example:

    >>> import tempfile
    >>> write_json(tempfile.mkdtemp() + "/scores.json", {"accuracy": 0.5}).read_text().split()
    ['{', '"accuracy":', '0.5', '}']
    """
    return write_text(path, json.dumps(value, indent=2))


def save_figure(figure, path):
    """Writes a Matplotlib figure as a PNG file, whole, and makes its folder.

    Texts in a script that Matplotlib's own font lacks are set in a font of the system, if any has it.

    Args:
        figure: `matplotlib.figure.Figure`.
        path: Str or path of the file.

    Returns:
        The `pathlib.Path` of the file.

    Raises:
        OSError: As `whole_file`.

    Example:

    >>> import tempfile
    >>> from matplotlib.figure import Figure
    >>> save_figure(Figure(), tempfile.mkdtemp() + "/figures/empty.png").name
    'empty.png'
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suit_fonts(figure)
    with whole_file(path) as partial, no_warnings_of_glyphs():
        # "tight" makes the picture as large as what is drawn: no label is ever cut off.
        figure.savefig(partial, format="png", dpi=figure.dpi, bbox_inches="tight", pad_inches=0.15)
    return path


def check_writable(folder):
    """Makes a folder and finds out now, not after training, whether it can be written.

    A folder that was empty is marked by a hidden file, so that the figures in it are never taken
    for the photographs of a class.

    Args:
        folder: `pathlib.Path`.

    Raises:
        OSError: If it cannot, or is a file.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "runs" / "cars"
    >>> check_writable(folder)
    >>> [path.name for path in folder.iterdir()]
    ['.cin_keras_results']
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror
        raise type(error)(
            f"--output must be a folder that can be written ({reason}). "
            f"Received: {str(folder)!r}"
        ) from error
    if not any(folder.iterdir()):
        (folder / RESULTS_MARK).touch()


def holds_results(folder):
    """Whether this package has written results into a folder: bool.

    That is one that `check_writable` has marked, or one with the files of a run or an evaluation.

    Args:
        folder: Str or path.

    Example:

    >>> holds_results("nowhere")
    False
    """
    names = (RESULTS_MARK, "state.zip", "model.keras", "metrics.json")
    return any(os.path.exists(os.path.join(folder, name)) for name in names)


def move_aside(folder, results):
    """Moves what an earlier run left in `folder` to a folder in it, and says so.

    Args:
        folder: `pathlib.Path`.
        results: Names of files and folders, or patterns of them.

    Example:

    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> (folder / "metrics.json").touch()
    >>> move_aside(folder, ["metrics.json"])  # doctest: +ELLIPSIS
    /... holds an earlier run: moved to /...
    """
    earlier = [path for name in results for path in folder.glob(name)]
    if earlier:
        # Two may begin within a second.
        begin = time.strftime("earlier-%Y%m%d-%H%M%S-")
        place = pathlib.Path(tempfile.mkdtemp(prefix=begin, dir=folder))
        shutil.copymode(folder, place)  # not for its owner alone
        for path in earlier:
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, place / path.name)
        print(f"{folder} holds an earlier run: moved to {place}.")


def _takes_a_stream(path):
    """Whether there is a device or a pipe at `path`, or a file that this process has open."""
    if os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return True
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


@contextlib.contextmanager
def _partial(place):
    """A new name beside `place`, under which nothing is left in the end."""
    partial = place.with_name(f"{_begin(place)}{uuid.uuid4().hex}.partial{place.suffix}")
    try:
        yield partial
    finally:
        # On a failing disk the error of the block says more than one of the clean-up.
        with contextlib.suppress(OSError):
            _remove(partial)


def _begin(place):
    # Short enough for the longest name.
    return os.fsdecode(os.fsencode(place.stem)[:100]) + "."


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder):
    """Makes the new name last through a power failure, where folders can be synchronised."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError:  # some network file systems refuse
            pass
        finally:
            os.close(handle)
