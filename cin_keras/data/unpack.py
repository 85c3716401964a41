"""Unpacking archives from elsewhere: nothing outside the folder, whole or not at all."""

import os
import pathlib
import posixpath
import shutil
import tarfile
import zlib

import keras

_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError)
_MEBIBYTE = 2**20


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
        verbose: Int, 1 for a progress bar in MiB of the archive, 0 for none. Defaults to 1.

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
        _extract(pathlib.Path(archive), unfinished, verbose)
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
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("Unpacking safely needs Python 3.11.4 or later")
    size, room = archive.stat().st_size, shutil.disk_usage(folder).free
    bar = keras.utils.Progbar(-(-size // _MEBIBYTE), unit_name="MiB") if verbose else None
    members, parents, links, unpacked = {}, set(), [], 0
    with open(archive, "rb") as file:
        try:
            with tarfile.open(fileobj=file) as tar:
                for member in tar:
                    path = _checked_path(member, members, parents, archive)
                    if path == ".":
                        continue
                    members[path] = member
                    if member.islnk() or member.issym():
                        links.append((path, member))
                        continue
                    unpacked += member.size
                    if unpacked > room:
                        raise ValueError(
                            f"{archive} does not fit on the disk, which has {room:,} bytes free. "
                            f"Received: {unpacked:,} bytes up to its member {member.name!r}"
                        )
                    tar.extract(member, folder, filter="data")
                    if bar:
                        bar.update(file.tell() // _MEBIBYTE)
                # To the end, where the compressed data say what their sum is.
                while tar.fileobj.read(_MEBIBYTE):
                    pass
                # Last, so that no file is ever written through a link.
                for path, member in links:
                    _check_link(path, member, members, parents, archive)
                    tar.extract(member, folder, filter="data")
        except _DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the archive
            raise ValueError(
                f"{archive} cannot be unpacked, it is damaged or no archive "
                f"({type(error).__name__}: {error})"
            ) from error
    if bar:
        bar.update(bar.target)


def _checked_path(member, members, parents, archive):
    """The member's path in the folder, normalised; ValueError if it may not be unpacked.

    The folders that it lies in are added to `parents`.
    """
    name = member.name

    def refuse(reason):
        raise ValueError(f"Refused to unpack {archive}: its member {name!r} {reason}")

    path = posixpath.normpath(name)
    if name.startswith("/") or "\\" in name or name[1:2] == ":":
        refuse("has an absolute path, or one of another system")
    if ".." in name.split("/"):
        refuse("leads out of the folder")
    if not (member.isfile() or member.isdir() or member.islnk() or member.issym()):
        refuse("is neither file, folder nor link (a device or a pipe)")
    if path in members and not (member.isdir() and members[path].isdir()):
        refuse("stands in it twice")
    if path in parents and not member.isdir():
        refuse("is no folder, but others lie in it")
    parent = posixpath.dirname(path)
    while parent:
        if parent in members and not members[parent].isdir():
            refuse(f"lies in {parent!r}, which is no folder")
        parents.add(parent)
        parent = posixpath.dirname(parent)
    return path


def _check_link(path, link, members, parents, archive):
    """A link must lead to a file or folder of the archive that is no link itself."""
    target = link.linkname
    if link.issym():
        target = posixpath.join(posixpath.dirname(path), target)
    target = posixpath.normpath(target)
    to_folder = target in parents or target in members and members[target].isdir()
    to_file = target in members and members[target].isfile()
    if link.linkname.startswith("/") or target.startswith("..") or "\\" in link.linkname:
        problem = "out of the folder"
    elif not (to_file or to_folder and link.issym()):
        problem = "and not to a file or folder of the archive"
    else:
        return
    raise ValueError(
        f"Refused to unpack {archive}: its member {link.name!r} is a link to {link.linkname!r}, "
        f"{problem}"
    )
