"""Files that appear whole or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import time


def partial_path(path):
    """The name under which `path` is written before it is moved into place.

    Example:

    >>> partial_path("run/model.keras").name
    'model.partial.keras'
    """
    path = pathlib.Path(path)
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@contextlib.contextmanager
def whole_file(path):
    """Replaces a file at once: a reader, or whoever comes after a crash, sees the old or the new.

    Args:
        path: Str or path of the file; its folder must exist.

    Yields:
        A path in the same folder, to be written by the caller. When the `with` block ends it is
        on the disk and moved to `path`; if the block raises, it is deleted.

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
    path = pathlib.Path(path)
    partial = partial_path(path)
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        stays = "; the file of before is there, whole" if path.exists() else ""
        raise OSError(
            f"{str(path)!r} cannot be written ({error.strerror or error}){stays}. Make room, or "
            "make the folder writable."
        ) from error
    finally:
        # On a failing disk the error above says more than one of the clean-up.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


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
    with whole_file(path) as partial:
        # "tight" makes the picture as large as what is drawn: no label is ever cut off.
        figure.savefig(partial, format="png", dpi=figure.dpi, bbox_inches="tight", pad_inches=0.15)
    return path


def check_writable(folder):
    """Makes a folder and finds out now, not after training, whether it can be written.

    Args:
        folder: `pathlib.Path`.

    Raises:
        OSError: If it cannot.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "runs" / "cars"
    >>> check_writable(folder)
    >>> list(folder.iterdir())
    []
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json.partial").touch()
    (folder / "metrics.json.partial").unlink()


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
        place = folder / time.strftime("earlier-%Y%m%d-%H%M%S")
        place.mkdir()
        for path in earlier:
            shutil.move(path, place / path.name)
        print(f"{folder} holds an earlier run: moved to {place}.")


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
