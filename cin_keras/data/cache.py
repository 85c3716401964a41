"""Resized images in memory or in a file: each is decoded only once.

What is kept is the image at 8/7 of the network's size, of which every crop is a part: at 448 pixels
512 × 512 × 3 bytes, 786 kB, whatever the photograph's own size. Crops are taken from it at whole
pixels. A file that cannot be decoded is not kept; whoever reads it meets the same error as without
a cache.
"""

import hashlib
import math
import os
import pathlib
import pickle
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL

from cin_keras.checks import check_size
from cin_keras.data.cropping import resize, resized_size, size_that_will_do
from cin_keras.data.records import Records
from cin_keras.data.samples import check_samples
from cin_keras.data.stores import add_states, is_remote
from cin_keras.files import remove_partial, whole_file
from cin_keras.progress import progress_bar
from cin_keras.threads import available_cores

FORMAT = 2  # of the file and of the rules by which images are decoded and resized
IMAGES_AT_A_TIME = 64  # decoded and not yet written
AN_HOUR = 3600  # seconds in which whoever writes a cache will have written some of it


def with_cache(samples, cache, image_size=448, max_pixels=None):
    """Samples that are decoded only once, for one size of the network.

    How much room it takes is said, and there must be as much, before it begins.

    Args:
        samples: `Samples`.
        cache: `None`, no cache; `"memory"`, each image is kept from its first use on; or the path
            of a folder on disk. There, one file holds all images of these samples at this size. It
            is written now if it is not there yet, with a progress bar, whole or not at all, and
            anew if an image file has another size or time of change than when the cache was
            written. Other samples have another file, so data sets can share a folder. Nobody
            deletes the files but you; what a killed process has left of one goes after an hour.
        image_size: Int or `(height, width)`, in pixels, what the network sees. Defaults to 448.
        max_pixels: As for `cin_keras.data.image_dataset`. Defaults to `None`.

    Returns:
        `samples` without a cache; else an object with the same `labels`, `paths` and so on, whose
        `read(index)` returns a uint8 array `(8/7 height, 8/7 width, 3)`.

    Raises:
        ValueError: If `cache` or `image_size` is something else, or `samples` are none, or have
            another cache.
        MemoryError: If the images do not fit into the memory that is free.
        OSError: If the folder cannot be written, or has no room for them.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=1, image_size=64)
    >>> cached = with_cache(samples, "memory", image_size=56)
    Keeping 12 images of 64×64 pixels in memory takes 147 kB.
    >>> first, again = cached.read(3), cached.read(3)  # decodes, and takes what was kept
    >>> first.shape, np.array_equal(first, again)
    ((64, 64, 3), True)
    """
    check_samples(samples)
    size = check_size("image_size", image_size)
    if isinstance(samples, _Cache) and (cache is not None or samples._size != size):
        raise ValueError(
            "`samples` have a cache already, for one size of the network: give the same "
            f"`image_size`, {samples._size}, and no other cache, or the samples without one. "
            f"Received: image_size={size}, cache={cache!r}"
        )
    if cache is None:
        return samples
    if cache == "memory":
        return MemoryCache(samples, size)
    if is_remote(cache):
        raise ValueError(
            "`cache` must be a folder on a disk of this machine, for pixels that are mapped into "
            f"memory. Received: cache={str(cache)!r}"
        )
    if isinstance(cache, (str, os.PathLike)) and str(cache):
        return DiskCache(samples, cache, size, max_pixels)
    raise ValueError(
        f"`cache` must be None, 'memory' or the path of a folder. Received: cache={cache!r}"
    )


class _Cache:
    """What both kinds share: samples, and a row of pixels an image where there is one.

    Args:
        samples: `Samples`.
        size: `(height, width)` that the network sees.
    """

    def __init__(self, samples, size):
        self._samples = samples
        self._size = size
        self._shape = (len(samples), *resized_size(*size), 3)
        self._bytes = math.prod(self._shape)

    def __len__(self):
        return len(self._samples)

    def __getattr__(self, name):
        if name.startswith("_"):  # of this object, and not there yet while it is copied
            raise AttributeError(name)
        return getattr(self._samples, name)

    def _decode(self, index, max_pixels):
        at_least = size_that_will_do(*self._size)
        image = self._samples.read(index, max_pixels=max_pixels, at_least=at_least)
        return resize(image, *self._size)

    def _say_what_it_takes(self, where):
        count, height, width, _ = self._shape
        takes = in_bytes(self._bytes)
        print(f"Keeping {count} images of {width}×{height} pixels in {where} takes {takes}.")


_IN_MEMORY = weakref.WeakSet()  # all that there are


class MemoryCache(_Cache):
    """Samples whose resized images stay in memory from their first use on; see `with_cache`."""

    def __init__(self, samples, size):
        super().__init__(samples, size)
        self._say_what_it_takes("memory")
        needed = self._bytes
        # Other caches take what they need when they are filled.
        free = max(0, free_memory() - sum(cache.still_needs() for cache in _IN_MEMORY))
        if needed > free:
            raise MemoryError(
                f"The cache needs {in_bytes(needed)} of memory, and {in_bytes(free)} are free: "
                "give a folder on disk, a smaller `image_size`, or cache=None. Received: "
                "cache='memory'"
            )
        self._pixels = np.empty(self._shape, np.uint8)  # the system's only when it is filled
        self._of_limit = np.zeros(len(samples), np.int64)  # 0: not there
        _IN_MEMORY.add(self)

    def still_needs(self):
        """Bytes of the images that are not there yet."""
        return int((self._of_limit == 0).sum()) * (self._bytes // len(self))

    def read(self, index, max_pixels=None, at_least=None):
        """As `Samples.read`, but resized, whatever `at_least` is: a uint8 array."""
        limit = self._samples.max_pixels if max_pixels is None else max_pixels
        # What a smaller limit has let pass is in order under a larger one.
        if not 0 < self._of_limit[index] <= limit:
            pixels = self._decode(index, limit)
            self._pixels[index] = pixels
            self._of_limit[index] = limit
        return self._pixels[index]


class DiskCache(_Cache):
    """Samples whose resized images are in one file in a folder; see `with_cache`.

    The file begins with a line that says of what it is the cache, then an array in NumPy's format,
    whether there is an image, a bool each; then the pixels, image after image.

    Args:
        samples: `Samples`.
        folder: Str or path; made if it is not there.
        size: `(height, width)` that the network sees.
        max_pixels: Int, or `None` for the limit of the samples.
    """

    def __init__(self, samples, folder, size, max_pixels=None):
        super().__init__(samples, size)
        self._limit = samples.max_pixels if max_pixels is None else max_pixels
        self.path, title = _identify(samples, folder, self._shape, self._limit)
        there = self._read_index(title)
        if there is None:
            self._write(title)
            there = self._read_index(title)
        self._of_limit = np.where(there, self._limit, 0)  # 0: not there
        begin = self.path.stat().st_size - self._bytes
        self._pixels = np.memmap(self.path, np.uint8, "r", begin, self._shape)

    def read(self, index, max_pixels=None, at_least=None):
        """As `Samples.read`, but resized, whatever `at_least` is: a uint8 array."""
        limit = self._limit if max_pixels is None else max_pixels
        # What a smaller limit has let pass is in order under a larger one.
        if 0 < self._of_limit[index] <= limit:
            return self._pixels[index]
        pixels = self._decode(index, limit)
        if self._of_limit[index]:
            self._of_limit[index] = limit
        return pixels

    def _read_index(self, title):
        """Which images are there, or `None` if the file is missing, of another state, or cut."""
        try:
            with open(self.path, "rb") as file:
                if file.readline(len(title)) != title:
                    return None
                there = np.lib.format.read_array(file, allow_pickle=False)
                pixels = os.fstat(file.fileno()).st_size - file.tell()
        except (OSError, ValueError):
            return None
        whole = pixels == self._bytes
        return there if whole and there.shape == self._shape[:1] and there.dtype == bool else None

    def _write(self, title):
        """Decodes all images and writes the cache, whole or not at all."""
        folder, needed = self.path.parent, self._bytes
        self._say_what_it_takes(self.path)
        try:
            remove_partial(self.path, untouched_for=AN_HOUR)
            there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
            free = shutil.disk_usage(there).free
            if needed > free:
                raise OSError(f"it needs {in_bytes(needed)}, and {in_bytes(free)} are free")
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as partial, open(partial, "wb") as file:
                self._write_images(file, title)
        except OSError as error:
            raise OSError(
                f"The cache cannot be written ({error}): make room, or choose another folder. "
                f"Received: cache={str(folder)!r}"
            ) from error

    def _write_images(self, file, title):
        def decode(i):
            try:
                return self._decode(i, self._limit)
            except ValueError:  # Whoever needs this image reads it again, and sees the error.
                return None

        count, missing = len(self), np.zeros(self._shape[1:], np.uint8)
        there = np.zeros(count, bool)
        file.write(title)
        np.save(file, there)
        with ThreadPoolExecutor(available_cores()) as pool, progress_bar(count, "image") as bar:
            for begin in range(0, count, IMAGES_AT_A_TIME):
                block = range(begin, min(begin + IMAGES_AT_A_TIME, count))
                for i, pixels in zip(block, pool.map(decode, block), strict=True):
                    there[i] = pixels is not None
                    file.write(missing if pixels is None else np.ascontiguousarray(pixels))
                    bar.update()
        # Now that it is known; as long as the empty one.
        file.seek(len(title))
        np.save(file, there)


def _identify(samples, folder, shape, limit):
    """The path of the cache of these samples, and the line with which it must begin."""
    which = hashlib.blake2b(repr(shape).encode(), digest_size=16)
    state = hashlib.blake2b(f"{FORMAT} {PIL.__version__} {limit}".encode(), digest_size=16)
    for name in ("bottom_strips", "crops"):  # beside the file, what decides on the pixels
        which.update(pickle.dumps((name, getattr(samples, name))))
    if isinstance(samples.encoded, Records):
        which.update(pickle.dumps(samples.encoded))  # their places
        add_states(state, samples.encoded.files)
    elif samples.encoded is not None:
        for encoded in samples.encoded:
            which.update(hashlib.blake2b(encoded).digest())
    else:
        for path in samples.paths:
            place = path if is_remote(path) else os.path.abspath(path)
            which.update(place.encode("utf-8", "surrogateescape") + b"\0")
        add_states(state, samples.paths)
    title = f"cin_keras.data.cache {which.hexdigest()} {state.hexdigest()}\n".encode()
    return pathlib.Path(folder) / f"{which.hexdigest()}.images", title


CONTROL_GROUPS = pathlib.Path("/sys/fs/cgroup")
OWN_CONTROL_GROUP = pathlib.Path("/proc/self/cgroup")


def free_memory():
    """Bytes (int) that the system and the control groups (of version 2) can still give away."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([free, *map(_free_in, _control_groups())])


def _control_groups():
    """That of this process and those around it: a container has its limit in the outermost, a job within."""
    try:
        lines = OWN_CONTROL_GROUP.read_text(errors="surrogateescape").splitlines()
        own = next(line[4:] for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        own = ""
    return [CONTROL_GROUPS / part for part in (own, *pathlib.PurePosixPath(own).parents)]


def _free_in(group):
    """What is left to a control group, infinity without a limit."""
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(map(str.split, (group / "memory.stat").read_text().splitlines()))
    except (OSError, ValueError):  # no limit, which is "max"
        return math.inf
    return max(0, limit - used + int(stat.get("inactive_file", 0)))


def in_bytes(count):
    """A number of bytes for people to read.

    >>> in_bytes(147_456), in_bytes(36_000_000_000)
    ('147 kB', '36 GB')
    """
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1000:.3g} kB"
