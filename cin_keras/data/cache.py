"""Decoded images in memory or in a file, for data sets small enough: each is decoded only once.

What is kept is the whole decoded photograph, before it is cropped: width × height × 3 bytes, so
that every crop has the same pixels as without a cache, at every size of the network. A file that
cannot be decoded, or on disk one of more pixels than the samples' limit, is not kept; whoever reads
it meets the same error as without a cache.
"""

import dataclasses
import hashlib
import os
import pathlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
from PIL import Image

from cin_keras.data.samples import check_samples
from cin_keras.files import whole_file
from cin_keras.progress import progress_bar

FORMAT = 1  # of the file and of the rules by which images are decoded
IMAGES_AT_A_TIME = 64  # decoded and not yet written
# What a sample is called and whose class it is says nothing about its pixels.
NOT_PIXELS = ("paths", "encoded", "labels", "class_names", "parts", "max_pixels")


def with_cache(samples, cache):
    """Samples that are decoded only once.

    Args:
        samples: `Samples`.
        cache: `None`, no cache; `"memory"`, each image is kept from its first use on; or the path
            of a folder on disk. There, one file holds all images of these samples. It is written
            now if it is not there yet, with a progress bar, whole or not at all, and anew if an
            image file has another size or time of change than when the cache was written. Other
            samples have another file, so data sets can share a folder. Nobody deletes the files
            but you.

    Returns:
        An object that reads like `samples`, with the same `labels` and `paths`.

    Raises:
        ValueError: If `cache` is something else, or `samples` are none.
        OSError: If the folder cannot be written.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=1, image_size=64)
    >>> cached = with_cache(samples, "memory")
    >>> first, again = cached.read(3), cached.read(3)  # decodes, and takes what was kept
    >>> np.array_equal(first, again) and np.array_equal(again, samples.read(3))
    True
    """
    check_samples(samples)
    if cache is None:
        return samples
    if cache == "memory":
        return MemoryCache(samples)
    if isinstance(cache, (str, os.PathLike)) and str(cache):
        return DiskCache(samples, cache)
    raise ValueError(
        f"`cache` must be None, 'memory' or the path of a folder. Received: cache={cache!r}"
    )


class MemoryCache:
    """Samples whose decoded images stay in memory from their first use on.

    Args:
        samples: `Samples`.
    """

    def __init__(self, samples):
        self._samples = samples
        self._images = [None] * len(samples)

    def __len__(self):
        return len(self._samples)

    def __getattr__(self, name):
        return getattr(self._samples, name)

    def read(self, index, max_pixels=None):
        """As `Samples.read`."""
        max_pixels = self._samples.max_pixels if max_pixels is None else max_pixels
        pixels = self._images[index]
        if pixels is None or pixels[..., 0].size > max_pixels:
            pixels = np.asarray(self._samples.read(index, max_pixels=max_pixels))
            self._images[index] = pixels
        return Image.fromarray(pixels)


class DiskCache:
    """Samples whose decoded images are in one file in a folder; see `with_cache`.

    The file begins with a line that says of what it is the cache, then an array in NumPy's format,
    a row an image: offset in the file, height, width (zeros where there is no image); then the
    pixels, image after image.

    Args:
        samples: `Samples`.
        folder: Str or path; made if it is not there.

    Raises:
        OSError: If the folder cannot be written.
    """

    def __init__(self, samples, folder):
        self._samples = samples
        self.path, title = _identify(samples, folder)
        index = _read_index(self.path, title, len(samples))
        if index is None:
            _write(samples, self.path, title)
            index = _read_index(self.path, title, len(samples))
        self._index = index
        self._bytes = np.memmap(self.path, np.uint8, "r")

    def __len__(self):
        return len(self._samples)

    def __getattr__(self, name):
        return getattr(self._samples, name)

    def read(self, index, max_pixels=None):
        """As `Samples.read`."""
        max_pixels = self._samples.max_pixels if max_pixels is None else max_pixels
        offset, height, width = self._index[index]
        if height == 0 or height * width > max_pixels:
            return self._samples.read(index, max_pixels=max_pixels)
        pixels = self._bytes[offset : offset + height * width * 3]
        return Image.fromarray(pixels.reshape(height, width, 3))


def _identify(samples, folder):
    """The path of the cache of these samples, and the line with which it must begin."""
    which = hashlib.blake2b(digest_size=16)
    state = hashlib.blake2b(f"{FORMAT} {PIL.__version__}".encode(), digest_size=16)
    for field in dataclasses.fields(samples):
        if field.name not in NOT_PIXELS:
            which.update(pickle.dumps((field.name, getattr(samples, field.name))))
    if samples.encoded is not None:
        for encoded in samples.encoded:
            which.update(hashlib.blake2b(encoded).digest())
    else:
        for path in samples.paths:
            which.update(os.path.abspath(path).encode("utf-8", "surrogateescape") + b"\0")
            try:
                status = os.stat(path)
                state.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
            except OSError:
                state.update(b"missing\n")
    title = f"cin_keras.data.cache {which.hexdigest()} {state.hexdigest()}\n".encode()
    return pathlib.Path(folder) / f"{which.hexdigest()}.images", title


def _read_index(path, title, count):
    """The index of a cache, or `None` if it is missing, of another state, or not whole."""
    try:
        with open(path, "rb") as file:
            if file.readline(len(title)) != title:
                return None
            index = np.lib.format.read_array(file, allow_pickle=False)
            begin, size = file.tell(), os.fstat(file.fileno()).st_size
    except (OSError, ValueError):
        return None
    if index.shape != (count, 3) or index.dtype != np.int64:
        return None
    return index if begin + int(np.prod(index[:, 1:], axis=1).sum()) * 3 == size else None


def _write(samples, path, title):
    """Decodes all images and writes the cache, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, open(partial, "wb") as file:
            _write_images(samples, file, title, path)
    except OSError as error:
        raise OSError(
            f"The cache cannot be written ({error}). It takes width × height × 3 bytes an image: "
            f"make room, or choose another folder. Received: cache={str(path.parent)!r}"
        ) from error


def _write_images(samples, file, title, path):
    def decode(i):
        try:
            return np.asarray(samples.read(i))
        except ValueError:  # Whoever needs this image reads it again, and sees the error.
            return np.empty((0, 0, 3), np.uint8)

    print(f"Decoding {len(samples)} images into {path}")
    index = np.zeros((len(samples), 3), np.int64)
    file.write(title)
    np.save(file, index)
    with ThreadPoolExecutor() as pool, progress_bar(len(samples), "image") as bar:
        for begin in range(0, len(samples), IMAGES_AT_A_TIME):
            block = range(begin, min(begin + IMAGES_AT_A_TIME, len(samples)))
            for i, image in zip(block, pool.map(decode, block), strict=True):
                index[i] = file.tell(), *image.shape[:2]
                file.write(image)
                bar.update()
    # Now that it is known; as long as the empty one.
    file.seek(len(title))
    np.save(file, index)
