"""Downloads of the data sets that can still be had, checked, and installed whole or not at all."""

import dataclasses
import hashlib
import http.client
import os
import pathlib
import re
import shutil
import time
import urllib.error
import urllib.request

import keras

from cin_keras.data.find import find_layout
from cin_keras.data.stanford_cars import WHERE_TO_GET_IT
from cin_keras.data.unpack import unpack

_MEBIBYTE = 2**20
_LONGEST_PAUSE = 60.0  # seconds


@dataclasses.dataclass(frozen=True)
class Archive:
    """An archive that somebody publishes.

    Args:
        url: Str.
        size: Int, in bytes.
        md5: Str, hexadecimal, as its publisher gives it.
        top: Str, the folder in it that is the data set.
    """

    url: str
    size: int
    md5: str
    top: str


ARCHIVES = {
    # https://data.caltech.edu/records/65de6-vp158
    "cub_200_2011": Archive(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        size=1_150_585_339,
        md5="97eceeb196236b17998738112f37df78",
        top="CUB_200_2011",
    ),
    # https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/
    "fgvc_aircraft": Archive(
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
        size=2_753_340_328,
        md5="d4acdd33327262359767eeaa97a4f732",
        top="fgvc-aircraft-2013b",
    ),
}


class DownloadError(RuntimeError):
    """A download that cannot be had, or not now; the message says which and what to do."""


def download(name, data_dir, *, timeout=30.0, attempts=5, pause=1.0, verbose=1):
    """Downloads a data set and unpacks it, so that its loader finds it in `data_dir`.

    The archive comes to lie beside `data_dir` and is removed in the end. Broken off, by the
    network, by Ctrl-C or by a crash, the download goes on where it stopped when it is asked for
    again. `data_dir` appears when all of it is there.

    Args:
        name: Str, `"cub_200_2011"` (1.2 GB to download) or `"fgvc_aircraft"` (2.8 GB).
            `"stanford_cars"` cannot be downloaded; the error says where to get it.
        data_dir: Path of the folder to make. If the data set is there, nothing is done.
        timeout: Float, seconds without a byte after which the connection is given up and made
            anew. Defaults to 30.0.
        attempts: Int ≥ 1, how many times in a row to try without getting any further. Defaults
            to 5.
        pause: Float, seconds before the second attempt, doubled for each that follows, up to a
            minute. Defaults to 1.0.
        verbose: Int, 1 for progress bars, 0 for silence. Defaults to 1.

    Returns:
        `pathlib.Path` of `data_dir`, absolute.

    Raises:
        ValueError: If there is no such data set, or its archive is refused (see `unpack`).
        FileExistsError: If `data_dir` holds something else.
        DownloadError: If the archive cannot be had, or is not the published one.

    Example:

    ```python
    data_dir = cin_keras.data.download("cub_200_2011", "data/CUB_200_2011")
    train = cin_keras.data.cub_200_2011(data_dir, "train")
    ```
    """
    folder = pathlib.Path(os.path.abspath(data_dir))
    if name == "stanford_cars":
        if not _is_installed(name, folder):
            raise DownloadError(WHERE_TO_GET_IT.format(data_dir=folder))
        return folder
    if name not in ARCHIVES:
        raise ValueError(
            f"`name` must be 'cub_200_2011', 'fgvc_aircraft' or 'stanford_cars'. Received: {name!r}"
        )
    if _is_installed(name, folder):
        return folder
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is there already and holds something else than {name}. Remove it, or choose "
            "another folder."
        )
    archive = ARCHIVES[name]
    file = folder.with_name(archive.url.rpartition("/")[2])
    if verbose:
        print(f"Downloading {archive.url} ({archive.size / 1e9:.1f} GB)")
    fetch(
        archive.url,
        file,
        archive.size,
        archive.md5,
        timeout=timeout,
        attempts=attempts,
        pause=pause,
        verbose=verbose,
    )
    if verbose:
        print(f"Unpacking it into {folder}")
    unpack(file, folder, archive.top, verbose)
    file.unlink()
    return folder


def _is_installed(name, folder):
    try:
        return find_layout(folder) == name
    except (FileNotFoundError, ValueError):
        return False


def fetch(url, path, size=None, md5=None, *, timeout=30.0, attempts=5, pause=1.0, verbose=1):
    """Downloads a file, going on where an earlier download stopped, and checks it.

    Until it is whole and checked it is called `path` with `.part` added.

    Args:
        url: Str.
        path: Path of the file. If it is there and right, nothing is downloaded.
        size: `None` or int, what it must have in bytes. Defaults to `None`.
        md5: `None` or str, its MD5 sum in hexadecimal. Defaults to `None`.
        timeout: Float, in seconds, as for `download`. Defaults to 30.0.
        attempts: Int, as for `download`. Defaults to 5.
        pause: Float, in seconds, as for `download`. Defaults to 1.0.
        verbose: Int, 1 for a progress bar, 0 for none. Defaults to 1.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        DownloadError: If the server has no such file or another one, or after as many attempts;
            if the disk is full or may not be written to.
    """
    path = pathlib.Path(path)
    part = path.with_name(path.name + ".part")
    if path.exists():
        problem = _mismatch(path, size, md5)
        if problem:
            raise DownloadError(f"{path} is not {url}: {problem}. Remove it and try again.")
        return path
    _prepare(part, size)
    bar = _Bar(size, verbose)
    failures, furthest, discarded = 0, _size(part), False
    while True:
        resumed = _size(part) > 0
        problem = _transfer(url, part, size, timeout, bar)
        if problem is None:
            problem = _mismatch(part, size, md5)
            if problem is None:
                os.replace(part, path)
                return path
            part.unlink()
            if not resumed or discarded:
                raise DownloadError(
                    f"{url} is not the file that was published: {problem}. It was removed."
                )
            # Joined from pieces, perhaps of two files: from the beginning, once.
            discarded, furthest = True, 0
            continue
        have = _size(part)
        failures = 1 if have > furthest else failures + 1
        furthest = max(furthest, have)
        if failures >= attempts:
            raise DownloadError(
                f"{url} cannot be had ({attempts} attempts; the last: {problem}). "
                f"{have:,} bytes of it are in {part}; try again later to go on from there."
            )
        time.sleep(min(pause * 2 ** (failures - 1), _LONGEST_PAUSE))


class _Bar:
    """A progress bar in MiB, which does not fall back if a download begins anew."""

    def __init__(self, size, verbose):
        self.bar = None
        if verbose:
            target = None if size is None else -(-size // _MEBIBYTE)
            self.bar = keras.utils.Progbar(target, unit_name="MiB")
        self.size, self.shown = size, -1

    def update(self, have):
        """Shows that `have` bytes are there."""
        count = -(-have // _MEBIBYTE) if have == self.size else have // _MEBIBYTE
        if self.bar and count > self.shown:
            self.bar.update(count)
            self.shown = count


def _prepare(part, size):
    """Finds out before the download whether there is a place for it."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab"):
            pass
        needed = 0 if size is None else size - _size(part)
        free = shutil.disk_usage(part.parent).free
    except OSError as error:
        raise DownloadError(f"Cannot write {part} ({error.strerror or error})") from error
    if needed > free:
        raise DownloadError(
            f"The disk of {part.parent} is too full: the download needs {needed:,} bytes more, "
            f"{free:,} are free"
        )


def _transfer(url, part, size, timeout, bar):
    """One connection: adds to `part` what the server sends.

    Returns:
        `None` if the server has sent all, or what went wrong (str) if it is worth another attempt.
    """
    begin = _size(part)
    if size is not None and begin == size:
        return None
    if size is not None and begin > size:
        begin = 0
    request = urllib.request.Request(url, headers={"User-Agent": "cin_keras"})
    if begin:
        request.add_header("Range", f"bytes={begin}-")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            begin, total = _extent(response, begin)
            if size is not None and total is not None and total != size:
                raise DownloadError(
                    f"{url} is not the file that was published: the server offers {total:,} bytes, "
                    f"not {size:,}"
                )
            return _save(response, part, begin, total, size, bar)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file has become shorter than what we have
            part.unlink()
        elif error.code < 500 and error.code not in (408, 425, 429):
            raise DownloadError(
                f"{url} cannot be had: the server says {error.code} {error.reason}"
            ) from error
        return f"the server says {error.code} {error.reason}"
    except TimeoutError:
        return f"no byte came for {timeout:g} s"
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return f"no answer came for {timeout:g} s"
        return f"{type(reason).__name__}: {reason}"


def _extent(response, begin):
    """Where the server's answer begins, and the length of the whole file or `None`."""
    length = response.headers.get("Content-Length")
    length = int(length) if length and length.isdigit() else None
    if response.status != 206:  # all of it, whatever was asked for
        return 0, length
    given = re.fullmatch(
        r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
    )
    if not given or int(given[1]) != begin:
        raise http.client.HTTPException(
            f"asked for bytes from {begin}, the server sends "
            f"{response.headers.get('Content-Range')!r}"
        )
    if given[2] != "*":
        return begin, int(given[2])
    return begin, None if length is None else begin + length


def _save(response, part, begin, total, size, bar):
    """Writes an answer into `part` from `begin` on; returns as `_transfer`."""
    have, problem = begin, None
    with open(part, "r+b" if part.exists() else "wb") as file:
        file.truncate(begin)
        file.seek(begin)
        bar.update(have)
        while True:
            try:
                block = response.read1(_MEBIBYTE)
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                break
            if not block:
                break
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise DownloadError(
                    f"Cannot write {part} ({error.strerror or error}). What is there stays; with "
                    "room on the disk, the download goes on from there."
                ) from error
            have += len(block)
            if size is not None and have > size:
                break  # the check of the size says so
            bar.update(have)
    if problem is None and total is not None and have < total:
        problem = f"the connection was closed after {have:,} of {total:,} bytes"
    if problem is None and size is not None and have < size:
        problem = f"the connection was closed after {have:,} of {size:,} bytes"
    return problem


def _mismatch(path, size, md5):
    """How a file differs from what was published, or `None`."""
    have = _size(path)
    if size is not None and have != size:
        return f"it has {have:,} bytes, not {size:,}"
    if md5 is None:
        return None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return None if digest == md5 else f"its MD5 sum is {digest}, not {md5}"


def _size(path):
    return path.stat().st_size if path.exists() else 0
