"""Unpacking an archive that has been checked, whole or not at all."""

import os
import pathlib
import shutil
import tarfile
import zlib

from tqdm import tqdm

from cin_keras.files import named_if_not_written

if not hasattr(tarfile, "data_filter"):  # before Python 3.11.4, as in Debian 12
    from backports import tarfile


def unpack(archive, folder, top, verbose=1):
    """Unpacks a folder of a tar archive, compressed or not.

    It is unpacked into a hidden folder beside, of which `top` is renamed once all of it is there:
    what was interrupted leaves no folder that looks whole.

    Args:
        archive: Path of the archive, known to be undamaged.
        folder: Path of the folder to make; it must not be there, or be empty.
        top: Str, the archive's folder that is to become `folder`; what lies beside it is dropped.
        verbose: Int, 1 for a progress bar, 0 for none. Defaults to 1.

    Returns:
        `pathlib.Path`, the folder.

    Raises:
        OSError: If the folder cannot be written, or the disk is full.
        ValueError: If the archive is damaged, or a member would lie out of the folder, or is no file,
            folder or link within it.

    Example:

    ```python
    unpack("CUB_200_2011.tgz", "data/CUB_200_2011", top="CUB_200_2011")
    ```
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed run has left
    size = archive.stat().st_size
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=archive.name, disable=not verbose)
    try:
        with named_if_not_written(folder, is_folder=True):
            with bar, open(archive, "rb") as file, tarfile.open(fileobj=file) as tar:
                for member in tar:
                    tar.extract(member, unfinished, filter="data")
                    bar.update(file.tell() - bar.n)
                bar.update(size - bar.n)
            if folder.is_dir():
                folder.rmdir()
            os.rename(unfinished / top, folder)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(
            f"Refused to unpack {archive}, which is not what was published ({error}): remove it and "
            "download it again."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
