import copy
import dataclasses
import errno
import os
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cin_keras.data import Samples, image_dataset, pair_dataset, with_cache
from cin_keras.data import cache as caching
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


def pixels(samples, size=16):
    """As a cache of images for a network of 14 pixels should have them: all of 16 × 16."""
    images = [samples.read(i) for i in range(len(samples))]
    return [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in images]


def cached_pixels(samples, cache, image_size=14):
    cached = with_cache(samples, cache, image_size)
    return [cached.read(i) for i in range(len(samples))]


def assert_same(received, expected):
    assert len(received) == len(expected)
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(params=["memory", "disk"])
def cache(request, tmp_path):
    return "memory" if request.param == "memory" else tmp_path / "cache"


# === What comes out ===


def test_cached_images_are_the_resized_ones(samples, cache, capsys):
    cached = with_cache(samples, cache, 14)
    where = "memory" if cache == "memory" else str(cached.path)
    assert capsys.readouterr().out == (
        f"Keeping 8 images of 16×16 pixels in {where} takes 6.14 kB.\n"
    )
    for _ in range(2):
        assert_same([cached.read(i) for i in range(8)], pixels(samples))
    assert len(cached) == 8
    assert cached.paths == samples.paths
    np.testing.assert_array_equal(cached.labels, samples.labels)
    oblong = with_cache(samples, cache, (14, 28)).read(1)
    assert oblong.shape == (16, 32, 3)


def test_a_crop_is_a_window_of_the_resized_image(samples, cache, reads):
    """Or of its mirror image; each is decoded once, by all pipelines where they share a file."""
    images = image_dataset(samples, 14, 4, augment="crop", cache=cache)
    pairs = pair_dataset(samples, 14, 2, cache=cache)
    seen = [np.asarray(image) for _ in range(3) for batch, _ in images for image in batch]
    for (a, b), (labels, _) in pairs:
        assert a.shape == b.shape == (2, 14, 14, 3) and labels.shape == (2,)
    assert sorted(reads) == sorted(list(range(8)) * (2 if cache == "memory" else 1))
    found = set()
    for position, crop in enumerate(seen):
        whole = pixels(samples)[position % 8]
        windows = [
            (top, left, mirrored)
            for mirrored in (False, True)
            for top in range(3)
            for left in range(3)
            if np.array_equal(crop[:, ::-1] if mirrored else crop, whole[top:, left:][:14, :14])
        ]
        assert len(windows) == 1
        found |= set(windows)
    assert {top for top, _, _ in found} == {left for _, left, _ in found} == {0, 1, 2}
    assert {mirrored for *_, mirrored in found} == {False, True}


def test_the_centre_is_that_without_a_cache(samples, cache):
    plain, cached = (
        np.concatenate([np.asarray(images) for images, _ in image_dataset(samples, 14, **options)])
        for options in ({}, {"cache": cache})
    )
    assert plain.std() > 30
    assert np.abs(plain.astype(int) - cached).max() <= 1


def test_samples_with_a_cache_are_fed_as_any_others(samples, cache):
    cached = with_cache(samples, cache, 14)
    for make, batch in ((image_dataset, {"batch_size": 4}), (pair_dataset, {"pairs_per_batch": 2})):
        options = {"image_size": 14, "augment": "crop", "seed": 3, **batch}
        received, expected = make(cached, **options), make(samples, cache="memory", **options)
        for found, wanted in zip(received, expected, strict=True):
            for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
                np.testing.assert_array_equal(a, b)
    for wrong in ({"image_size": 21}, {"image_size": 14, "cache": "memory"}):
        with pytest.raises(ValueError, match=r"have a cache already.*`image_size`, \(14, 14\), and no"):
            image_dataset(cached, **wrong)


def test_encoded_samples_are_told_apart_by_their_bytes(tmp_path, reads):
    def samples_of(*seeds):
        encoded = [encode(noise(seed)) for seed in seeds]
        return Samples(["a.png", "b.png"], [0, 0], ["cat"], encoded=encoded)

    for seeds in ((0, 1), (0, 2)):
        found = cached_pixels(samples_of(*seeds), tmp_path, 7)
        resized = [Image.fromarray(noise(s)).resize((8, 8), Image.BILINEAR) for s in seeds]
        assert_same(found, list(map(np.asarray, resized)))
    assert reads == [0, 1, 0, 1]
    with_cache(samples_of(0, 1), tmp_path, 7)
    assert reads == [0, 1, 0, 1]


def test_a_bad_file_gives_the_error_that_it_gives_without_a_cache(samples, cache):
    broken = samples.paths[2]
    with open(broken, "r+b") as file:
        file.truncate(40)
    cached = with_cache(samples, cache, 14)
    with pytest.raises(ValueError, match="Cannot decode .*2.png"):
        cached.read(2)
    assert_same([cached.read(5)], pixels(samples.subset([5])))


def test_a_limit_of_pixels_counts_for_cached_images(samples, cache):
    for limit in (None, 400, 399, None):
        images = image_dataset(samples.subset([5]), 14, cache=cache, max_pixels=limit)
        if limit != 399:
            assert len(list(images)) == 1
            continue
        with pytest.raises(Exception, match="5.png.*25×16 pixels are more than max_pixels=399"):
            list(images)
    cached = with_cache(samples, cache, 14)
    assert cached.read(5).shape == cached.read(5, max_pixels=400).shape
    with pytest.raises(ValueError, match="more than max_pixels=399"):
        cached.read(5, max_pixels=399)
    with pytest.warns(UserWarning, match="Left out .*5.png"):
        found = image_dataset(cached, 14, max_pixels=399, on_error="skip")
        assert sum(len(labels) for _, labels in found) == 5


def test_a_file_written_for_large_photographs_shows_small_ones(samples, tmp_path):
    small = dataclasses.replace(samples, max_pixels=399)
    cached = with_cache(small, tmp_path / "cache", 14, max_pixels=400)
    assert_same([cached.read(5)], pixels(samples.subset([5])))
    (tmp_path / "images" / "6.png").write_bytes(encode(noise(6, 25)))  # 400 pixels
    cached = with_cache(small, tmp_path / "cache", 14, max_pixels=400)
    assert_same([cached.read(6)], pixels(samples.subset([6])))


def test_a_smaller_limit_takes_one_more_decoding(samples, cache, reads):
    cached = with_cache(samples, cache, 14)
    for _ in range(3):
        cached.read(5, max_pixels=1000)
    before = len(reads)
    for limit in (1000, 2000, None):
        cached.read(5, max_pixels=limit)
    assert len(reads) == before


def test_a_copy_of_cached_samples_reads_as_they_do(samples, cache):
    cached = with_cache(samples, cache, 14)
    assert_same([copy.copy(cached).read(5)], pixels(samples.subset([5])))


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
    with_cache(samples, folder, 14)
    (file,) = folder.iterdir()
    assert sorted(reads) == list(range(8))
    first = file.read_bytes()
    assert len(first) == pytest.approx(8 * 16 * 16 * 3, abs=600)

    reads.clear()
    boxes = [(0, 0, 4, 4)] * 8
    relabelled = Samples(samples.paths, [1, 0] * 4, ["one", "two"], boxes=boxes)
    found = cached_pixels(relabelled, folder)
    assert not reads
    assert_same(found, pixels(samples))

    status = os.stat(samples.paths[7])
    with open(samples.paths[7], "wb") as changed:
        changed.write(encode(noise(70)))
    os.utime(samples.paths[7], ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    assert_same(cached_pixels(samples, folder), pixels(samples))
    assert list(folder.iterdir()) == [file], "in the place of the old one"


def test_a_changed_file_may_be_as_large_as_before(tmp_path):
    """What tells is its time, for BMP files of one size are equally long."""
    paths = [tmp_path / f"{i}.bmp" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(noise(i, 20)).save(path)
    samples, before = Samples(paths, [0, 1], ["a", "b"]), os.stat(paths[1])
    with_cache(samples, tmp_path / "cache", 14)
    Image.fromarray(noise(5, 20)).save(paths[1])
    os.utime(paths[1], ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert os.stat(paths[1]).st_size == before.st_size
    assert_same(cached_pixels(samples, tmp_path / "cache"), pixels(samples))


def test_other_samples_have_another_file(samples, tmp_path):
    for part in (samples, samples.subset([1, 2]), samples.subset([2, 1])):
        assert_same(cached_pixels(part, tmp_path / "cache"), pixels(part))
    assert_same(cached_pixels(samples, tmp_path / "cache", 21), pixels(samples, 24))
    assert len(list((tmp_path / "cache").iterdir())) == 4


@pytest.mark.parametrize("damage", ["cut", "emptied", "foreign", "pickle"])
def test_a_damaged_file_is_written_anew(samples, tmp_path, damage):
    folder = tmp_path / "cache"
    with_cache(samples, folder, 14)
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
    assert_same(cached_pixels(samples, folder), pixels(samples))
    assert file.read_bytes() == whole


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_a_file_is_written_whole_or_not_at_all(samples, tmp_path, monkeypatch, stop):
    folder = tmp_path / "cache"
    read = Samples.read

    def breaks_off(self, index, **limits):
        if index == 6:
            raise stop
        return read(self, index, **limits)

    with monkeypatch.context() as patch:
        patch.setattr(Samples, "read", breaks_off)
        with pytest.raises(stop):
            with_cache(samples, folder, 14)
    assert list(folder.iterdir()) == []
    assert_same(cached_pixels(samples, folder), pixels(samples))


def test_what_a_killed_process_has_left_goes_after_an_hour(samples, tmp_path):
    folder = tmp_path / "cache"
    with_cache(samples, folder, 14)
    (file,) = folder.iterdir()
    file.unlink()
    old, new = (file.with_name(f"{file.stem}.{name}.partial.images") for name in ("0a", "0b"))
    for partial in old, new:
        partial.write_bytes(b"a part of it")
    os.utime(old, (time.time() - 3700,) * 2)
    with_cache(samples, folder, 14)
    assert sorted(folder.iterdir()) == sorted([file, new])


def test_a_full_disk_is_one_sentence_and_leaves_nothing(samples, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left.*make room.*cache=.*cache"):
        with_cache(samples, tmp_path / "cache", 14)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made(samples, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cache cannot be written .*choose another folder.*file"):
        with_cache(samples, tmp_path / "file", 14)


def test_what_does_not_fit_is_refused_before_it_begins(samples, tmp_path, monkeypatch, reads):
    usage = type("Usage", (), {"free": 6143})
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="needs 6.14 kB, and 6.14 kB are free.*another folder"):
        with_cache(samples, tmp_path / "cache", 14)
    monkeypatch.setattr(caching, "free_memory", lambda: 6143)
    with pytest.raises(MemoryError, match="needs 6.14 kB of memory.*give a folder.*'memory'"):
        with_cache(samples, "memory", 14)
    assert not reads and not (tmp_path / "cache").exists()
    usage.free = 6144
    with_cache(samples, tmp_path / "cache", 14)


def test_caches_in_memory_share_what_is_free(samples, monkeypatch):
    monkeypatch.setattr(caching, "_IN_MEMORY", weakref.WeakSet())
    monkeypatch.setattr(caching, "free_memory", lambda: 6144 + 1000)
    first = with_cache(samples, "memory", 14)
    with pytest.raises(MemoryError, match="needs 6.14 kB of memory, and 1 kB are free"):
        with_cache(samples, "memory", 14)
    for i in range(len(samples)):
        first.read(i)  # from now on the system counts it
    with_cache(samples, "memory", 14)


def test_the_memory_that_is_free(tmp_path, monkeypatch):
    groups, own = tmp_path / "groups", tmp_path / "own"
    monkeypatch.setattr(caching, "CONTROL_GROUPS", groups)
    monkeypatch.setattr(caching, "OWN_CONTROL_GROUP", own)
    assert 10**7 < caching.free_memory() < 10**14

    def limit(group, limit):
        group.mkdir(exist_ok=True, parents=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text("5000\n")
        (group / "memory.stat").write_text("anon 4000\ninactive_file 700\n")

    limit(groups, 9000)  # of a container
    assert caching.free_memory() == 4700
    limit(groups, "max")
    assert caching.free_memory() > 10**7

    own.write_bytes(b"0::/job-\xff\n")
    assert caching.free_memory() > 10**7
    own.write_text("4:memory:/another\n0::/slurm/job_7/step_0\n")
    limit(groups / "another", 100)
    limit(groups / "slurm" / "job_7" / "step_0", "max")
    assert caching.free_memory() > 10**7
    limit(groups / "slurm" / "job_7", 8000)
    assert caching.free_memory() == 3700
    limit(groups / "slurm" / "job_7" / "step_0", 7000)
    assert caching.free_memory() == 2700


@pytest.mark.parametrize("cache", [True, 3, ""])
def test_what_is_no_cache(samples, cache):
    with pytest.raises(ValueError, match="`cache` must be None, 'memory' or the path of a folder"):
        with_cache(samples, cache)


def test_a_cache_lies_on_a_disk(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="on a disk of this machine.*cache='gs://bucket/cache'"):
        with_cache(samples, "gs://bucket/cache")
    assert not list(tmp_path.glob("gs*"))
