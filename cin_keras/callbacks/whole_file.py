"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib


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
