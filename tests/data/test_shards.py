import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import warnings

import numpy as np
import pytest
import tensorflow as tf

from cin_keras.data import (
    Samples,
    SetEpoch,
    cache,
    find_data_set,
    find_layout,
    find_splits,
    from_shards,
    from_table,
    image_dataset,
    image_folder,
    pair_dataset,
    records,
    shards,
    with_cache,
    write_shards,
)
from cin_keras.data.decoding import UnreadableImage
from cin_keras.data.records import Records
from cin_keras.data.samples import fingerprint
from cin_keras.data.stores import StoreError
from cin_keras.training.photographs import SamePhotographs
from tests.data.small_sets import coloured_samples, encode

LABELS = [i % 3 for i in range(20)]


def by_name(samples):
    """`{name: (bytes, label)}`, whatever the order and the shards."""
    names = [path.split(".tfrecord/")[-1] for path in samples.paths]
    return {name: (samples.encoded_bytes(i), samples.labels[i]) for i, name in enumerate(names)}


@pytest.fixture
def folder(tmp_path):
    return write_shards(coloured_samples(LABELS), tmp_path / "shards", images_per_shard=6)


def test_what_went_in_comes_out(folder, tmp_path):
    samples = coloured_samples(LABELS)
    found = from_shards(folder)
    assert by_name(found) == by_name(samples)
    assert found.class_names == samples.class_names and isinstance(found.encoded, Records)
    assert [found.encoded_size(i) for i in range(20)] == [
        len(found.encoded_bytes(i)) for i in range(20)
    ]
    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    shards = [f"train-0000{i}-of-00004.tfrecord" for i in range(4)]
    assert names == ["shards.json", *shards, "train.npz"]
    assert len(set(found.labels[:6])) == 3, "a shard is a random part"


def test_shards_are_tfrecords_that_others_read(folder):
    found = by_name(from_shards(folder))
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
    }
    files = tf.data.Dataset.list_files(f"{folder}/*.tfrecord")
    read = {}
    for record in tf.data.TFRecordDataset(files):
        example = tf.io.parse_single_example(record, features)
        name = example["image/filename"].numpy().decode()
        read[name] = example["image/encoded"].numpy(), example["image/class/label"].numpy()
    assert read == found


def test_pipelines_read_them_as_any_samples(folder):
    samples, found = coloured_samples(LABELS), from_shards(folder)
    back = {path.split("/")[-1]: i for i, path in enumerate(found.paths)}
    same = found.subset([back[path] for path in samples.paths])
    for make in (image_dataset, pair_dataset):
        expected, shown = (make(part, 8, 4, seed=3) for part in (samples, same))
        for one, other in zip(expected, shown, strict=True):
            for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
                np.testing.assert_array_equal(a, b)
    assert SetEpoch(shown)


def test_parts_of_them_are_samples_too(folder):
    found = from_shards(folder)
    one, other = found.split(0.4)
    assert by_name(one.join(other)) == by_name(found)
    assert isinstance(one.join(other).encoded, Records)
    assert by_name(found.limit(7)).items() <= by_name(found).items()
    assert {*found.filter(["class 1"]).labels} == {0}


def test_what_stands_beside_a_photograph_is_kept(tmp_path):
    samples = dataclasses.replace(
        coloured_samples(LABELS),
        boxes=[(0, 0, i + 1, 9) for i in range(20)],
        crops=[(0, 0, 16, i + 1) for i in range(20)],
        bottom_strips=[i % 2 for i in range(20)],
        parts=[{"wing": (0, 0, i + 1, 2)} if i else {} for i in range(20)],
        max_pixels=12345,
        hierarchy={"group": ["a", "a", "b"]},
    )
    found = from_shards(write_shards(samples, tmp_path / "s", images_per_shard=np.int64(7)))
    assert found.max_pixels == 12345 and found.hierarchy == samples.hierarchy
    for i, path in enumerate(found.paths):
        number = int(path.split("/")[-1][:-4])
        assert found.boxes[i, 2] == number + 1 == found.crops[i, 3]
        assert found.bottom_strips[i] == number % 2
        expected = {"wing": [0, 0, number + 1, 2]} if number else {}
        assert {name: list(box) for name, box in found.parts[i].items()} == expected


def write_folder(root):
    for i in range(12):
        file = root / "ab"[i % 2] / f"{i} ü.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(np.full((9, 9, 3), i)))
    return image_folder(root)


def test_a_folder_and_its_splits(tmp_path):
    samples = write_folder(tmp_path / "photographs")
    folder = write_shards(dict(zip(("train", "test"), samples.split(0.5))), tmp_path / "shards")
    assert find_layout(folder) == "shards"
    found = find_splits(folder, validation_fraction=0.4, split_file=tmp_path / "split.json")
    again = find_splits(folder, split_file=tmp_path / "split.json")
    assert {k: v.paths for k, v in found.items()} == {k: v.paths for k, v in again.items()}
    assert len(find_data_set(folder, "test")) == len(found["test"]) == 6
    names = {path.split(".tfrecord/")[-1] for part in found.values() for path in part.paths}
    assert names == {f"{'ab'[i % 2]}/{i} ü.png" for i in range(12)}
    with pytest.raises(ValueError, match=r"has the splits 'train', 'test'. Received: split='val'"):
        from_shards(folder, "val")
    with pytest.raises(ValueError, match="Shards have levels of their own. Received: levels='a,b'"):
        find_data_set(folder, levels="a,b")


@contextlib.contextmanager
def broken_off(monkeypatch):
    """A context in which Ctrl-C comes before the third shard."""
    whole, calls = shards._write_shard, []

    def write(part, indices, path, *rest):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        whole(part, indices, path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "_write_shard", write)
        yield


def test_writing_goes_on_where_it_was_broken_off(tmp_path, monkeypatch):
    samples = coloured_samples(LABELS)
    with broken_off(monkeypatch), pytest.raises(KeyboardInterrupt):
        write_shards(samples, tmp_path / "s", images_per_shard=6)
    with pytest.raises(ValueError, match="are not finished: call write_shards again"):
        from_shards(tmp_path / "s")
    first = sorted((tmp_path / "s").glob("*.tfrecord"))
    times = [path.stat().st_mtime_ns for path in first]
    write_shards(samples, tmp_path / "s", images_per_shard=6)
    assert [path.stat().st_mtime_ns for path in first] == times and len(times) == 2
    assert by_name(from_shards(tmp_path / "s")) == by_name(samples)


def test_a_photograph_that_has_changed_is_written_anew(tmp_path, monkeypatch):
    samples, folder = write_folder(tmp_path / "photographs"), tmp_path / "s"
    with broken_off(monkeypatch), pytest.raises(KeyboardInterrupt):
        write_shards(samples, folder, images_per_shard=4)
    for path in samples.paths:
        with open(path, "wb") as file:
            file.write(encode(np.full((5, 5, 3), 7)))
    found = from_shards(write_shards(samples, folder, images_per_shard=4))
    assert {found.read(i).size for i in range(12)} == {(5, 5)}
    times = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    write_shards(samples, folder, images_per_shard=4)
    assert [path.stat().st_mtime_ns for path in sorted(folder.iterdir())] == times, "all as it was"
    with open(samples.paths[0], "wb") as file:
        file.write(encode(np.full((6, 6, 3), 7)))
    found = from_shards(write_shards(samples, folder, images_per_shard=4))
    assert sorted({found.read(i).size for i in range(12)}) == [(5, 5), (6, 6)]


def test_another_box_crop_or_limit_is_written_anew(tmp_path):
    samples, folder = write_folder(tmp_path / "photographs"), str(tmp_path / "s")
    plain = write_shards(samples, folder, images_per_shard=4) and from_shards(folder)
    boxed = dataclasses.replace(samples, boxes=[[1, 1, 3, 3]] * 12)
    forms = [boxed, boxed.crop_to_boxes(), dataclasses.replace(boxed, max_pixels=99), samples]
    for form in forms:
        found = from_shards(write_shards(form, folder, images_per_shard=4))
        assert found.read(0).size == form.read(0).size
        assert (found.boxes is None) == (form.boxes is None) and found.max_pixels == form.max_pixels
    assert from_shards(folder).paths == plain.paths


def test_writing_goes_on_with_the_boxes_of_the_second_call(tmp_path, monkeypatch):
    samples = coloured_samples(LABELS)
    with broken_off(monkeypatch), pytest.raises(KeyboardInterrupt):
        write_shards(samples, tmp_path / "s", images_per_shard=6)
    boxed = dataclasses.replace(samples, boxes=[[1, 1, 3, 3]] * 20)
    found = from_shards(write_shards(boxed, tmp_path / "s", images_per_shard=6))
    assert found.boxes.tolist() == [[1, 1, 3, 3]] * 20


def test_a_cache_of_shards_is_renewed_with_them(tmp_path):
    # All of one size in bytes and of one name's length: the places are the same in either order.
    encoded = [encode(np.full((16, 16, 3), 20 * i), "BMP") for i in range(10)]
    samples = Samples([f"{i}.bmp" for i in range(10)], [0, 1] * 5, ["a", "b"], encoded=encoded)
    caches = []
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "s", ignore_errors=True)
        found = from_shards(write_shards(samples, tmp_path / "s", seed=seed))
        caches.append(cache.with_cache(found, tmp_path / "c", 14))
        for i in range(10):
            np.testing.assert_array_equal(caches[-1].read(i), np.asarray(found.read(i)))


def test_photographs_at_addresses(tmp_path):
    folder = "ram://photographs"
    for i in range(3):
        with tf.io.gfile.GFile(f"{folder}/{i}.png", "wb") as file:
            file.write(encode(np.full((9, 9, 3), 50 * i)))
    paths = [f"{folder}/{i}.png" for i in range(3)]
    samples = Samples([*paths, f"{folder}/gone.png"], [0, 1, 0, 1], ["a", "b"])
    assert [samples.read(i).getpixel((0, 0))[0] for i in range(3)] == [0, 50, 100]
    assert samples.encoded_size(1) == len(samples.encoded_bytes(1)) > 50
    seen = image_dataset(samples, 8, 4, on_error="skip")
    assert [labels.tolist() for _, labels in seen.as_numpy_iterator()] == [[0, 1, 0]]
    assert "gone.png" in str(seen.skipped) and "there is no such file" in str(seen.skipped)
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["path,label", *(f"{path},x" for path in paths)]))
    assert from_table(table).paths == tuple(paths)
    unreachable = Samples(["s3://bucket/x"], [0], ["a"])
    for call in (from_shards, find_data_set, lambda _: unreachable.read(0)):
        with pytest.raises(OSError, match="s3://bucket/x.*TensorFlow alone reads gs://"):
            call("s3://bucket/x")
    with pytest.raises(Exception, match="StoreError: s3://bucket/x cannot be reached"):
        list(image_dataset(unreachable, 8, 1, on_error="skip"))  # no photograph is at fault
    with pytest.raises(OSError, match="cannot be reached .*tensorflow_io, or mount the store"):
        write_shards(coloured_samples(LABELS), "s3://bucket/x")


@pytest.mark.parametrize("damage", [b"zzz", None, "cut"])
def test_a_damaged_index_is_named(folder, damage):
    path = pathlib.Path(folder, "train.npz")
    content = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else damage)
    message = "index of the shards is missing" if damage is None else "damaged. Write the shards anew"
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        from_shards(folder)
    samples = coloured_samples(LABELS)
    assert by_name(from_shards(write_shards(samples, folder, images_per_shard=6))) == by_name(samples)


def test_what_cannot_be_written_is_named(tmp_path):
    samples = coloured_samples(LABELS)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="`folder` must be a folder. .*, a file"):
        write_shards(samples, tmp_path / "file")
    for split in ("foo/bar", 1):
        with pytest.raises(ValueError, match="`split` must be 'train', 'val' or 'test'"):
            write_shards({split: samples}, tmp_path / "s")
    files = write_folder(tmp_path / "photographs")
    for path in files.paths:
        pathlib.Path(path).unlink()
    with pytest.warns(UserWarning, match="are left out"):
        with pytest.raises(ValueError, match="None of the photographs of 'train' could be read"):
            write_shards(files, tmp_path / "s", on_error="skip")


def test_others_files_are_left_alone(tmp_path, folder):
    with pytest.raises(ValueError, match="holds the shards of other photographs"):
        write_shards(coloured_samples(LABELS), folder, images_per_shard=7)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    with pytest.raises(ValueError, match=r"must be new or empty. Received: .*, where letter.txt"):
        write_shards(coloured_samples(LABELS), tmp_path / "full")
    with pytest.raises(FileNotFoundError, match="No shards. Received: folder='nowhere'"):
        from_shards("nowhere")


def test_a_damaged_shard_is_named(folder):
    first = f"{folder}/train-00000-of-00004.tfrecord"
    with open(first, "ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="train-00000-of-00004.tfrecord is damaged: it has"):
        from_shards(folder)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"format": "cin_ker', '{"format": "%s"}', '{"format": "%s", "shards": ["x"]}'],
)
def test_a_damaged_list_of_shards_is_named(folder, content):
    pathlib.Path(folder, "shards.json").write_text(content.replace("%s", shards.FORMAT))
    with pytest.raises(ValueError, match=r"shards.json is damaged.*anew, into another folder"):
        from_shards(folder)
    with pytest.raises(ValueError, match="must be new or empty. Received: .*shards.json"):
        write_shards(coloured_samples(LABELS), folder, images_per_shard=7)


def test_a_damaged_photograph_is_named_or_left_out(tmp_path):
    samples = coloured_samples(LABELS)
    broken = list(samples.encoded)
    broken[4] = b"no image"
    samples = dataclasses.replace(samples, encoded=broken)
    found = from_shards(write_shards(samples, tmp_path / "s", images_per_shard=6))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"of-00004.tfrecord/4.png"):
        list(image_dataset(found, 8, 4))
    seen = image_dataset(found, 8, 4, on_error="skip")
    assert sum(len(labels) for _, labels in seen) == 19
    (index,) = seen.skipped.reasons
    assert found.paths[index].endswith("/4.png")


def test_a_file_that_cannot_be_read_is_named_or_left_out(tmp_path):
    samples = write_folder(tmp_path / "photographs")
    (tmp_path / "photographs" / "b" / "3 ü.png").unlink()
    with pytest.raises(ValueError, match="3 ü.png"):
        write_shards(samples, tmp_path / "one")
    with pytest.warns(UserWarning, match="1 files are left out: .*3 ü.png"):
        folder = write_shards(samples, tmp_path / "two", on_error="skip")
    assert len(from_shards(folder)) == 11
    with pytest.warns(UserWarning, match="1 files were left out when .*two was written"):
        write_shards(samples, tmp_path / "two", on_error="skip")
    with pytest.raises(ValueError, match="3 ü.png"):
        write_shards(samples, tmp_path / "two")
    with pytest.raises(ValueError, match="are not finished"):
        from_shards(folder)  # its places may be old by now


def test_what_a_call_that_was_broken_off_left_out_is_not_left_out_by_the_next(tmp_path, monkeypatch):
    samples = coloured_samples([0] * 8)
    broken = list(samples.encoded)
    broken[2] = b""
    samples = dataclasses.replace(samples, encoded=broken)
    encoded_bytes = Samples.encoded_bytes

    def read(self, index):
        if not self.encoded[index]:
            raise UnreadableImage("2.png", "is empty")
        return encoded_bytes(self, index)

    monkeypatch.setattr(Samples, "encoded_bytes", read)
    monkeypatch.setattr(shards, "_write_index", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="1 files are left out"), pytest.raises(ZeroDivisionError):
        write_shards(samples, tmp_path / "s", images_per_shard=4, on_error="skip")
    monkeypatch.undo()
    monkeypatch.setattr(Samples, "encoded_bytes", read)
    with pytest.raises(UnreadableImage, match="2.png"):
        write_shards(samples, tmp_path / "s", images_per_shard=4)
    with pytest.warns(UserWarning, match="1 files were left out when .*00000-of-00002"):
        write_shards(samples, tmp_path / "s", images_per_shard=4, on_error="skip")
    assert len(from_shards(tmp_path / "s")) == 7


def test_files_are_closed_when_python_has_ended(folder, monkeypatch):
    """When modules are gone already."""
    encoded = from_shards(folder).encoded
    encoded[0]
    (number,) = encoded._opened.values()
    with monkeypatch.context() as ended:
        ended.setattr(records, "os", None)
        encoded.__del__()
    encoded._opened.clear()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_a_shard_that_is_gone_while_reading_is_named(folder, tmp_path):
    found = from_shards(folder)
    for file in (tmp_path / "shards").glob("*.tfrecord"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="tfrecord/.*ends before it should"):
        found.read(0)


def test_a_cache_and_a_run_know_them_by_their_places(folder, tmp_path):
    found = from_shards(folder)
    cached = with_cache(found, str(tmp_path / "cache"), (8, 8))
    np.testing.assert_array_equal(
        np.asarray(cached.read(3)), np.asarray(with_cache(found, "memory", (8, 8)).read(3))
    )
    photographs = SamePhotographs()
    photographs.samples = found
    assert photographs.sizes == [found.encoded_size(i) for i in range(20)]
    typed = [f"{folder}/", os.path.relpath(folder), shutil.copytree(folder, tmp_path / "copy")]
    assert {fingerprint(from_shards(each)) for each in typed} == {fingerprint(found)}
    assert fingerprint(found.subset([1, 0, *range(2, 20)])) != fingerprint(found)


def test_addresses_of_objects_go_through_tensorflow(tmp_path, monkeypatch):
    """TensorFlow's own file system in memory stands for a store."""
    samples = coloured_samples(LABELS)
    folder = write_shards(samples, "ram://shards", images_per_shard=6)
    assert find_layout("ram://shards") == find_layout("ram://shards/") == "shards"
    assert len(find_data_set("ram://shards/")) == len(samples)
    assert by_name(from_shards(folder)) == by_name(samples)
    assert json.loads(tf.io.gfile.GFile("ram://shards/shards.json").read())["shards"]
    assert len(from_shards("ram://shards/")) == len(samples)
    with tf.io.gfile.GFile("ram://others/notes.txt", "w") as file:
        file.write("mine")
    with pytest.raises(ValueError, match="must be new or empty.*'ram://others', where notes.txt is"):
        write_shards(samples, "ram://others/")


def test_a_store_that_is_away_for_a_moment_does_not_cost_the_shards(monkeypatch):
    samples = coloured_samples(LABELS)
    folder = write_shards(samples, "ram://away", images_per_shard=6)

    def fail(path):
        raise StoreError(f"{path} cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(shards, "_load", fail)
        with pytest.raises(StoreError):
            write_shards(samples, folder, images_per_shard=6)
    assert len(from_shards(folder)) == len(samples)


def test_wrong_arguments_are_named(tmp_path):
    samples = coloured_samples(LABELS)
    other = dataclasses.replace(samples, class_names=["x", "y", "z"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments, named in (
            ({"images_per_shard": 0}, "images_per_shard=0"),
            ({"on_error": "stop"}, "on_error='stop'"),
            ({"seed": -1}, "seed=-1"),
        ):
            with pytest.raises(ValueError, match=named):
                write_shards(samples, tmp_path / "s", **arguments)
        with pytest.raises(ValueError, match="of the same classes"):
            write_shards({"train": samples, "test": other}, tmp_path / "s")
