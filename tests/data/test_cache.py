import errno
import os

import numpy as np
import pytest
from PIL import Image

from cin_keras.data import Samples, image_dataset, pair_dataset, with_cache
from tests.data.small_sets import encode


def noise(seed, width=20, height=16):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


@pytest.fixture
def samples(tmp_path):
    """Eight files of different sizes, one of them grey and one lying on its side."""
    folder = tmp_path / "images"
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(8)]
    for i, path in enumerate(paths):
        path.write_bytes(encode(noise(i, width=20 + i)))
    paths[3].write_bytes(encode(noise(3)[:, :, 0]))
    exif = Image.Exif()
    exif[0x0112] = 6
    paths[4].write_bytes(encode(noise(4), exif=exif))
    return Samples(paths, [0, 0, 0, 0, 1, 1, 1, 1], ["cat", "dog"])


@pytest.fixture
def reads(monkeypatch):
    """The numbers of the samples that have been decoded."""
    numbers = []
    read = Samples.read

    def counting(self, index, *limit, **limits):
        numbers.append(int(index))
        return read(self, index, *limit, **limits)

    monkeypatch.setattr(Samples, "read", counting)
    return numbers


def pixels(samples):
    return [np.asarray(samples.read(i)) for i in range(len(samples))]


def assert_same(received, expected):
    assert len(received) == len(expected)
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path):
    return "memory" if request.param == "memory" else tmp_path / "cache"


# === What comes out ===


def test_cached_images_have_the_same_pixels(samples, cache):
    cached = with_cache(samples, cache)
    for _ in range(2):
        assert_same(pixels(cached), pixels(samples))
    assert cached.read(0).mode == "RGB"
    assert len(cached) == 8
    assert cached.paths == samples.paths
    np.testing.assert_array_equal(cached.labels, samples.labels)


def test_the_pipelines_give_the_same_crops(samples, cache, reads):
    def passes(**kwargs):
        pairs = pair_dataset(samples, 14, 2, **kwargs)
        images = image_dataset(samples, 14, 3, shuffle=True, augment="crop", **kwargs)
        batches = [batch for _ in range(3) for data in (pairs, images) for batch in data]
        return [np.asarray(a) for (a, *_), _ in batches] + [np.asarray(y[0]) for _, y in batches]

    expected = passes()
    reads.clear()
    assert_same(passes(cache=cache), expected)
    # Each pipeline's own memory; the pipelines share the file.
    times = 2 if cache == "memory" else 1
    assert sorted(reads) == sorted(list(range(8)) * times)


def test_encoded_samples_are_told_apart_by_their_bytes(tmp_path, reads):
    def samples_of(*seeds):
        encoded = [encode(noise(seed)) for seed in seeds]
        return Samples(["a.png", "b.png"], [0, 0], ["cat"], encoded=encoded)

    for seeds in ((0, 1), (0, 2)):
        cached = with_cache(samples_of(*seeds), tmp_path)
        assert_same(pixels(cached), [noise(seed) for seed in seeds])
    assert reads == [0, 1, 0, 1]
    with_cache(samples_of(0, 1), tmp_path)
    assert reads == [0, 1, 0, 1]


def test_a_bad_file_gives_the_error_that_it_gives_without_a_cache(samples, cache):
    broken = samples.paths[2]
    with open(broken, "r+b") as file:
        file.truncate(40)
    cached = with_cache(samples, cache)
    with pytest.raises(ValueError, match="Cannot decode .*2.png"):
        cached.read(2)
    assert_same([np.asarray(cached.read(5))], [noise(5, width=25)])


def test_a_limit_of_pixels_counts_for_cached_images(samples, cache):
    cached = with_cache(samples, cache)
    assert cached.read(5).size == (25, 16)
    assert cached.read(5, max_pixels=400).size == (25, 16)
    with pytest.raises(ValueError, match="5.png.*25×16 pixels are more than max_pixels=399"):
        cached.read(5, max_pixels=399)


def test_bad_files_are_left_out_as_without_a_cache(samples, cache):
    with open(samples.paths[2], "r+b") as file:
        file.truncate(40)
    with pytest.warns(UserWarning, match="Left out .*2.png"):
        data = image_dataset(samples, 14, 3, cache=cache, on_error="skip")
        labels = np.concatenate([np.asarray(labels) for _, labels in data])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert [index for index in range(8) if index in data.skipped] == [2]
    assert data.skipped.remaining().paths == samples.paths[:2] + samples.paths[3:]
    data.skipped.report()


# === The file ===


def test_the_file_serves_another_time_until_an_image_changes(samples, tmp_path, reads):
    folder = tmp_path / "some" / "cache"
    with_cache(samples, folder)
    (file,) = folder.iterdir()
    assert sorted(reads) == list(range(8))
    first = file.read_bytes()
    assert len(first) == pytest.approx(sum(x.size for x in pixels(samples)), abs=600)

    reads.clear()
    relabelled = Samples(samples.paths, [1, 0] * 4, ["one", "two"])
    assert_same(
        pixels(with_cache(relabelled, folder)),
        [noise(i, 20 + i) for i in range(3)] + pixels(samples)[3:],
    )
    assert sorted(reads) == list(range(8)), "only those of the comparison"

    status = os.stat(samples.paths[7])
    with open(samples.paths[7], "wb") as changed:
        changed.write(encode(noise(70)))
    os.utime(samples.paths[7], ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    assert_same([np.asarray(with_cache(samples, folder).read(7))], [noise(70)])
    assert list(folder.iterdir()) == [file], "in the place of the old one"


def test_a_changed_file_may_be_as_large_as_before(tmp_path):
    """What tells is its time, for BMP files of one size are equally long."""
    paths = [tmp_path / f"{i}.bmp" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(noise(i, 20)).save(path)
    samples, before = Samples(paths, [0, 1], ["a", "b"]), os.stat(paths[1])
    with_cache(samples, tmp_path / "cache")
    Image.fromarray(noise(5, 20)).save(paths[1])
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert os.stat(paths[1]).st_size == before.st_size
    assert_same(pixels(with_cache(samples, tmp_path / "cache")), [noise(0, 20), noise(5, 20)])


def test_other_samples_have_another_file(samples, tmp_path):
    for part in (samples, samples.subset([1, 2]), samples.subset([2, 1])):
        assert_same(pixels(with_cache(part, tmp_path / "cache")), pixels(part))
    assert len(list((tmp_path / "cache").iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "emptied", "foreign", "pickle"])
def test_a_damaged_file_is_written_anew(samples, tmp_path, damage):
    folder = tmp_path / "cache"
    with_cache(samples, folder)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    title = whole[: whole.index(b"\n") + 1]
    objects = tmp_path / "objects.npy"
    np.save(objects, np.array([{}], object), allow_pickle=True)
    file.write_bytes(
        {
            "cut": whole[:-1],
            "emptied": b"",
            "foreign": b"something else\n",
            "pickle": title + objects.read_bytes(),
        }[damage]
    )
    assert_same(pixels(with_cache(samples, folder)), pixels(samples))
    assert file.read_bytes() == whole


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_a_file_is_written_whole_or_not_at_all(samples, tmp_path, monkeypatch, stop):
    folder = tmp_path / "cache"
    read = Samples.read

    def breaks_off(self, index):
        if index == 6:
            raise stop
        return read(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Samples, "read", breaks_off)
        with pytest.raises(stop):
            with_cache(samples, folder)
    assert list(folder.iterdir()) == []
    assert_same(pixels(with_cache(samples, folder)), pixels(samples))


def test_a_full_disk_is_one_sentence_and_leaves_nothing(samples, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left.*make room.*cache=.*cache"):
        with_cache(samples, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made(samples, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cache cannot be written .*choose another folder.*file"):
        with_cache(samples, tmp_path / "file")


@pytest.mark.parametrize("cache", [True, 3, ""])
def test_what_is_no_cache(samples, cache):
    with pytest.raises(ValueError, match="`cache` must be None, 'memory' or the path of a folder"):
        with_cache(samples, cache)
