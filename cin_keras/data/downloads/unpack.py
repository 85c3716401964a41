"""Unpacking archives from elsewhere: nothing outside the folder, whole or not at all."""

import os
import pathlib
import shutil
import tarfile
import zlib

from tqdm import tqdm

if not hasattr(tarfile, "data_filter"):  # before Python 3.11.4, as in Debian 12
    from backports import tarfile

_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError, OverflowError, ValueError)


def unpack(archive, folder, top=None, verbose=1):
    """Unpacks a tar archive, compressed or not, into a new folder.

    It is unpacked into a hidden folder beside, which is renamed once all of it is there: what was
    interrupted leaves no folder that looks whole. Only files, folders, and links from one to
    another of them are taken; anything else is refused, and nothing of the archive stays.

    Args:
        archive: Path of the archive.
        folder: Path of the folder to make; it must not be there, or be empty.
        top: `None`, or str: the archive's folder that is to become `folder`; what lies beside it
            is dropped. Defaults to `None`, all of the archive.
        verbose: Int, 1 for a progress bar, 0 for none. Defaults to 1.

    Returns:
        `pathlib.Path`, the folder.

    Raises:
        FileExistsError: If the folder is there and not empty.
        ValueError: If the archive is damaged, or has a member that is refused: with a path out of
            the folder, a link out of it or to what is not in the archive, a device, a name twice,
            or more than fits on the disk. It names the member.

    Example:

    ```python
    unpack("CUB_200_2011.tgz", "data/CUB_200_2011", top="CUB_200_2011")
    ```
    """
    folder = pathlib.Path(folder)
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is there already and is not empty. Remove it, or choose another folder."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed run has left
    unfinished.mkdir()
    try:
        _extract(pathlib.Path(archive), unfinished.resolve(), verbose)
        source = unfinished if top is None else unfinished / top
        if not source.is_dir():
            raise ValueError(f"{archive} has no folder {top!r}, but {os.listdir(unfinished)[:5]}")
        if folder.is_dir():
            folder.rmdir()
        os.rename(source, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _extract(archive, folder, verbose):
    """Extracts every member that is in order; ValueError for one that is not."""
    links, unpacked, room = [], 0, shutil.disk_usage(folder).free
    size = archive.stat().st_size
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=archive.name, disable=not verbose)
    try:
        with bar, open(archive, "rb") as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                _check(member, folder)
                if member.islnk() or member.issym():
                    links.append(member)
                    continue
                unpacked += member.size
                if unpacked > room:
                    raise _Refused(
                        f"it does not fit on the disk, which has {room:,} bytes free. "
                        f"Received: {unpacked:,} bytes up to its member {member.name!r}"
                    )
                tar.extract(member, folder, filter="data")
                bar.update(file.tell() - bar.n)
            # To the end, where the compressed data say what their sum is.
            while tar.fileobj.read(2**20):
                pass
            bar.update(size - bar.n)
            # Last, so that no file is ever written through a link.
            for member in links:
                _check(member, folder)
                _check_link(member, folder)
                tar.extract(member, folder, filter="data")
    except (_Refused, tarfile.FilterError) as error:
        raise ValueError(f"Refused to unpack {archive}: {error}") from error
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise ValueError(
            f"{archive} cannot be unpacked, it is damaged or no archive "
            f"({type(error).__name__}: {error})"
        ) from error


class _Refused(Exception):
    """A member that is not in order."""


def _check(member, folder):
    """What `tarfile`'s data filter would let through or mend: `_Refused` for that."""
    name, path = member.name, folder / member.name
    if name.startswith("/") or "\\" in name or name[1:2] == ":" or ".." in name.split("/"):
        raise _Refused(f"its member {name!r} leads out of the folder")
    if member.size < 0:
        raise _Refused(f"its member {name!r} has a size of {member.size:,} bytes")
    parents = [folder / parent for parent in pathlib.PurePosixPath(name).parents]
    if any(parent.is_symlink() or parent.exists() and not parent.is_dir() for parent in parents):
        raise _Refused(f"its member {name!r} lies in what is no folder")
    is_folder = member.isdir() and path.is_dir() and not path.is_symlink()
    if os.path.lexists(path) and not is_folder:
        raise _Refused(f"its member {name!r} stands in it twice")


def _check_link(link, folder):
    """A link must lead to a file or folder that was unpacked, and through no other link."""
    start = folder if link.islnk() else (folder / link.name).parent
    target = start / link.linkname
    there = os.path.isfile(target) if link.islnk() else os.path.exists(target)
    if not (link.linkname and there) or any(os.path.islink(part) for part in (target, *target.parents)):
        raise _Refused(
            f"its member {link.name!r} is a link to {link.linkname!r}, which is no file or folder "
            "of the archive"
        )
