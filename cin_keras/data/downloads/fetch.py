"""A file from a server: gone on with where it broke off, and checked."""

import hashlib
import os
import pathlib
import shutil
import time

_MEBIBYTE = 2**20
_LONGEST_PAUSE = 60.0  # seconds


class DownloadError(RuntimeError):
    """A download that cannot be had, or not now; the message says which and what to do."""


def fetch(url, path, size, md5, *, timeout=30.0, attempts=5, pause=1.0, verbose=1):
    """Downloads a file, going on where an earlier download stopped, and checks it.

    Until it is whole and checked it is called `path` with `.part` added.

    Args:
        url: Str.
        path: Path of the file. If it is there and right, nothing is downloaded.
        size: Int, what it must have in bytes.
        md5: Str, its MD5 sum in hexadecimal.
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
    from tqdm import tqdm

    path = pathlib.Path(path)
    part = path.with_name(path.name + ".part")
    if path.exists():
        problem = _mismatch(path, size, md5)
        if problem:
            raise DownloadError(f"{path} is not {url}: {problem}. Remove it and try again.")
        return path
    _prepare(part, size)
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=not verbose)
    with bar:
        # What is joined from pieces may be joined from those of two files: then once more.
        for again in (True, False):
            pieces = int(_size(part) > 0)

            def transfer():
                nonlocal pieces
                pieces += 1
                return _transfer(url, part, size, timeout, bar)

            problem = persist(transfer, lambda: _size(part), attempts, pause)
            if problem:
                raise DownloadError(
                    f"{url} cannot be had ({attempts} attempts; the last: {problem}). "
                    f"{_size(part):,} bytes of it are in {part}; try again later to go on from "
                    "there."
                )
            problem = _mismatch(part, size, md5)
            if problem is None:
                os.replace(part, path)
                return path
            part.unlink()
            if not (again and pieces > 1):
                raise DownloadError(
                    f"{url} is not the file that was published: {problem}. It was removed."
                )


def persist(transfer, progress, attempts, pause):
    """Calls `transfer` until it returns None, or as often in a row without any progress.

    Args:
        transfer: Function that returns None, or what went wrong if another attempt may help.
        progress: Function that returns how many bytes are there.
        attempts: Int, as for `download`.
        pause: Float, as for `download`.

    Returns:
        None, or what went wrong last.
    """
    failures, furthest = 0, progress()
    while (problem := transfer()) is not None:
        have = progress()
        failures = 1 if have > furthest else failures + 1
        furthest = max(furthest, have)
        if failures >= attempts:
            break
        time.sleep(min(pause * 2 ** (failures - 1), _LONGEST_PAUSE))
    return problem


def _prepare(part, size):
    """Finds out before the download whether there is a place for it."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab"):
            pass
        needed = size - _size(part)
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
    import requests
    import urllib3

    begin = _size(part)
    if begin == size:
        return None
    if begin > size:
        begin = 0
    headers = {"User-Agent": "cin_keras", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            response.raise_for_status()
            if response.status_code != 206:  # all of it, whatever was asked for
                begin = 0
            given = response.headers.get("Content-Range", "")
            if begin and not given.startswith(f"bytes {begin}-"):
                return f"asked for bytes from {begin}, the server sends {given!r}"
            length = response.headers.get("Content-Length", "")
            total = begin + int(length) if length.isdigit() else size
            if total != size:
                raise DownloadError(
                    f"{url} is not the file that was published: the server offers {total:,} bytes, "
                    f"not {size:,}"
                )
            _save(response.raw, part, begin, size, bar)
    except requests.HTTPError as error:
        code, reason = error.response.status_code, error.response.reason
        if code == 416:  # the file has become shorter than what we have
            part.unlink()
        elif code < 500 and code not in (408, 425, 429):
            raise DownloadError(f"{url} cannot be had: the server says {code} {reason}") from error
        return f"the server says {code} {reason}"
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        return f"no byte came for {timeout:g} s"
    except requests.RequestException as error:
        return f"{type(error).__name__}: {first_cause(error)}"
    except urllib3.exceptions.HTTPError:
        pass  # the connection was closed
    have = _size(part)
    return None if have >= size else f"the connection was closed after {have:,} of {size:,} bytes"


def _save(source, part, begin, size, bar):
    """Writes what comes into `part` from `begin` on, until it ends or is more than it may be."""
    have = begin
    with open(part, "r+b" if part.exists() else "wb") as file:
        file.truncate(begin)
        file.seek(begin)
        bar.update(begin - bar.n)
        while have <= size:
            # What has come by now: of a larger block, a broken connection would lose all.
            block = source.read1(_MEBIBYTE)
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
            bar.update(len(block))


def first_cause(error):
    """The first cause of an error of requests, which wraps those of urllib3 and of sockets.

    Example:

    >>> try:
    ...     raise RuntimeError("the network") from OSError("the cable")
    ... except RuntimeError as error:
    ...     print(first_cause(error))
    the cable
    """
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return getattr(error, "strerror", None) or error


def _mismatch(path, size, md5):
    """How a file differs from what was published, or `None`."""
    have = _size(path)
    if have != size:
        return f"it has {have:,} bytes, not {size:,}"
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return None if digest == md5 else f"its MD5 sum is {digest}, not {md5}"


def _size(path):
    return path.stat().st_size if path.exists() else 0
