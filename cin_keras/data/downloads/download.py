"""Downloads of the data sets that can still be had, checked, and installed whole or not at all."""

import dataclasses
import os
import pathlib
import shutil

from cin_keras.data.downloads.fetch import DownloadError, fetch
from cin_keras.data.downloads.kaggle import fetch_from_kaggle
from cin_keras.data.downloads.unpack import unpack
from cin_keras.data.loaders.find import find_layout
from cin_keras.data.loaders.stanford_cars import WHERE_TO_GET_IT, stanford_cars


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

# https://github.com/pytorch/vision/issues/7545: the original has been gone since 2023.
CARS_ON_KAGGLE = "rickyyyyyyy/torchvision-stanford-cars", {"train": 8_144, "test": 8_041}


def download(name, data_dir, *, timeout=30.0, attempts=5, pause=1.0, verbose=1):
    """Downloads a data set and unpacks it, so that its loader finds it in `data_dir`.

    The archive comes to lie beside `data_dir` and is removed in the end. Broken off, by the
    network, by Ctrl-C or by a crash, the download goes on where it stopped when it is asked for
    again. `data_dir` appears when all of it is there.

    Args:
        name: Str, `"cub_200_2011"` (1.2 GB to download), `"fgvc_aircraft"` (2.8 GB) or
            `"stanford_cars"` (1.9 GB; a copy on Kaggle, by `kagglehub`).
        data_dir: Path of the folder to make. If the data set is there, nothing is done.
        timeout: Float, seconds without a byte after which the connection is given up and made
            anew (Kaggle: 15.0). Defaults to 30.0.
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
    if name not in (*ARCHIVES, "stanford_cars"):
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
    if name == "stanford_cars":
        _download_cars(folder, attempts, pause, verbose)
        return folder
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


def _download_cars(folder, attempts, pause, verbose):
    """Installs the copy of Stanford Cars on Kaggle, checked."""
    (handle, photographs), unfinished = CARS_ON_KAGGLE, folder.with_name(f".{folder.name}.download")
    if verbose:
        print(f"Downloading {handle} from Kaggle (1.9 GB)")
    try:
        found = fetch_from_kaggle(
            handle, unfinished, attempts=attempts, pause=pause, verbose=verbose
        )
        root = next((path.parent for path in sorted(found.rglob("devkit"))), found)
        problem = _difference(root, photographs)
        if problem:
            shutil.rmtree(unfinished)
            raise DownloadError(f"{handle} on Kaggle is not what was published: {problem}")
    except DownloadError as error:
        raise DownloadError(f"{error}. {WHERE_TO_GET_IT.format(data_dir=folder)}") from error
    if folder.is_dir():
        folder.rmdir()
    os.rename(root, folder)
    shutil.rmtree(unfinished)


def _difference(root, photographs):
    """How a folder differs from all of Stanford Cars, or `None`."""
    for split, count in photographs.items():
        try:
            have = len(stanford_cars(root, split))
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        if have != count:
            return f"it has {have:,} photographs for {split}, not {count:,}"
    return None
