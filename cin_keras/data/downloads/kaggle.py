"""Data sets that somebody has put on Kaggle, by Kaggle's own `kagglehub`."""

import contextlib
import io
import logging
import os
import pathlib
import shutil
import tarfile

from cin_keras.data.downloads.fetch import DownloadError, first_cause, persist
from cin_keras.files import NOT_WHOLE


def fetch_from_kaggle(handle, folder, *, attempts=5, pause=1.0, verbose=1):
    """Downloads a public data set and unpacks it; needs no account.

    Broken off, it goes on where it stopped when it is asked for again with the same folder.

    Args:
        handle: Str, `owner/name`, as in its address on kaggle.com.
        folder: Path of a folder to work in, made if it is not there.
        attempts: Int ≥ 1, how many times in a row to try without getting any further. Defaults
            to 5.
        pause: Float, seconds before the second attempt, doubled for each that follows, up to a
            minute. Defaults to 1.0.
        verbose: Int, 1 for a progress bar, 0 for silence. Defaults to 1.

    Returns:
        `pathlib.Path` in `folder`, the data set.

    Raises:
        DownloadError: If it cannot be had, or is damaged.

    Example:

    ```python
    fetch_from_kaggle("rickyyyyyyy/torchvision-stanford-cars", "data/kaggle")
    ```
    """
    folder = pathlib.Path(folder)
    found = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = persist(
            lambda: _try_once(handle, folder, verbose, found),
            lambda: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            attempts,
            pause,
        )
    except OSError as error:
        raise DownloadError(f"Cannot write {folder} ({error.strerror or error})") from error
    if problem:
        raise DownloadError(
            f"{handle} cannot be had from Kaggle ({attempts} attempts; the last: {problem})"
        )
    (path,) = found
    if folder in path.parents:
        return path
    # Notebooks on Kaggle and Colab have it on a disk that is not ours to change.
    return pathlib.Path(shutil.copytree(path, folder / "copy", dirs_exist_ok=True))


def _try_once(handle, folder, verbose, found):
    """One connection; puts the path into `found`, or returns what went wrong (str)."""
    import kagglehub
    import requests
    from kagglehub.exceptions import DataCorruptionError

    try:
        with _settings(folder, verbose):
            found.append(pathlib.Path(kagglehub.dataset_download(handle)))
    except requests.HTTPError as error:
        code = error.response.status_code
        sentence = f"the server says {code} {error.response.reason}"
        if code < 500 and code not in (408, 425, 429):
            raise DownloadError(f"{handle} cannot be had from Kaggle: {sentence}") from error
        return sentence
    except requests.RequestException as error:
        return f"{type(error).__name__}: {first_cause(error)}"
    except DataCorruptionError:  # kagglehub has removed the archive
        return "its MD5 sum is not the one that the server gives"
    except TypeError as error:
        if hasattr(tarfile, "data_filter") or "'filter'" not in str(error):
            raise
        shutil.rmtree(folder)
        raise DownloadError(
            f"{handle} comes from Kaggle as a tar archive, which kagglehub unpacks from Python 3.11.4 on; "
            "it was removed. Use a newer Python"
        ) from error
    except (*NOT_WHOLE, tarfile.TarError, ValueError) as error:
        shutil.rmtree(folder)
        raise DownloadError(
            f"{handle} from Kaggle is damaged ({type(error).__name__}: {error}); it was removed"
        ) from error
    return None


@contextlib.contextmanager
def _settings(folder, verbose):
    """Has kagglehub keep everything in `folder`, and say no more than it must."""
    logger = logging.getLogger("kagglehub")
    level, cache = logger.level, os.environ.get("KAGGLEHUB_CACHE")
    logger.setLevel(logging.ERROR)
    os.environ["KAGGLEHUB_CACHE"] = str(folder)
    try:
        with contextlib.nullcontext() if verbose else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        os.environ.pop("KAGGLEHUB_CACHE")
        if cache is not None:
            os.environ["KAGGLEHUB_CACHE"] = cache
