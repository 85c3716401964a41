import json
import os

import numpy as np
import pytest

from cin_keras.data import Samples, load_split, random_splits, save_split
from cin_keras.data.splits import split_name


def make(counts, root="data", names=None):
    names = names or [f"class {k}" for k in range(len(counts))]
    labels = np.repeat(range(len(counts)), counts)
    paths = [os.path.join(root, names[k], f"{i}.jpg") for i, k in enumerate(labels)]
    return Samples(paths, labels, names)


@pytest.mark.parametrize("fractions", [(0.1, 0.1), (0.25, 0.5), (0, 0.2), (0.2, 0), (0, 0)])
def test_random_splits(fractions):
    samples = make([20, 40, 8, 1])
    splits = random_splits(samples, validation_fraction=fractions[0], test_fraction=fractions[1])
    assert sorted(p for part in splits.values() for p in part.paths) == sorted(samples.paths)
    assert set(splits) == {"train"} | {n for n, f in zip(("val", "test"), fractions) if f}
    for name, fraction in zip(("val", "test"), fractions):
        if fraction:
            counts = np.bincount(splits[name].labels, minlength=4)
            expected = [max(1, round(fraction * n)) if n > 1 else 0 for n in (20, 40, 8, 1)]
            assert counts.tolist() == expected


def test_fractions_are_those_of_the_whole_data_set():
    splits = random_splits(make([15] * 10))
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 120,
        "test": 15,
        "val": 15,
    }


def test_random_splits_depend_on_the_seed():
    samples = make([30, 30])
    first, same, other = (random_splits(samples, seed=seed)["test"].paths for seed in (1, 1, 2))
    assert first == same != other


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"validation_fraction": 1},
            "`validation_fraction` must be a number of at least 0 and below 1",
        ),
        (
            {"test_fraction": -0.1},
            "`test_fraction` must be a number of at least 0 and below 1.*-0.1",
        ),
        ({"test_fraction": float("nan")}, "`test_fraction` must be a number"),
        ({"test_fraction": 0.5, "validation_fraction": 0.5}, "leave something to train on"),
    ],
)
def test_random_splits_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        random_splits(make([9, 9]), **arguments)


def test_a_split_is_repeated_although_files_were_added_and_moved(tmp_path):
    path = tmp_path / "run" / "split.json"
    before = make([10, 20], "data")
    splits = random_splits(before)
    save_split(path, splits, "data")
    path.write_text(path.read_text("utf-8"), "utf-8-sig")  # as some editors do
    after = make([10, 20], "elsewhere")
    more = Samples(
        ["elsewhere/class 0/new.jpg", "elsewhere/a new class/1.jpg"],
        [1, 0],
        ["a new class", "class 0"],
    )
    with pytest.warns(UserWarning, match="2 images of elsewhere are not in the split .*new"):
        again = load_split(path, more.join(after), "elsewhere")
    assert list(again) == ["train", "val", "test"] and again.keys() == splits.keys()
    for name, part in splits.items():
        assert [p.replace("elsewhere", "data") for p in again[name].paths] == list(part.paths)
        assert again[name].class_names == part.class_names
        assert again[name].labels.tolist() == part.labels.tolist()


def test_the_file_can_be_read_and_is_written_whole(tmp_path, monkeypatch):
    path = tmp_path / "split.json"
    save_split(path, {"train": make([2], names=["höhle"])}, "data")
    assert json.loads(path.read_text("utf-8")) == {
        "class_names": ["höhle"],
        "train": ["höhle/0.jpg", "höhle/1.jpg"],
    }
    content = path.read_text("utf-8")

    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="No space"):
        save_split(path, {"train": make([3])}, "data")
    assert path.read_text("utf-8") == content
    assert os.listdir(tmp_path) == ["split.json"]


def test_save_split_refuses(tmp_path):
    with pytest.raises(ValueError, match="'data|class 0/0.jpg' in 'train' and in 'test'"):
        save_split(tmp_path / "s.json", {"train": make([2]), "test": make([1])}, "data")
    twice = make([2]).subset([0, 1, 0])
    with pytest.raises(ValueError, match="must stand once.*class 0/0.jpg' in 'train' and in 'train'"):
        save_split(tmp_path / "s.json", {"train": twice}, "data")
    with pytest.raises(ValueError, match="must have the same classes.*train with Samples"):
        save_split(tmp_path / "s.json", {"train": make([2]), "test": make([1, 1])}, "data")
    assert not os.listdir(tmp_path)


def test_a_photograph_that_is_listed_twice_is_named(tmp_path):
    path = tmp_path / "split.json"
    save_split(path, random_splits(make([10, 10])), "data")
    content = json.loads(path.read_text())
    content["test"].append(content["train"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="split.json lists 1 photographs more than once: class 0/"):
        load_split(path, make([10, 10]), "data")


def test_missing_photographs_and_changed_classes(tmp_path):
    path = tmp_path / "split.json"
    samples = make([10, 10])
    save_split(path, random_splits(samples), "data")
    with pytest.raises(FileNotFoundError, match=r"1 of the 20 photographs .*: class 0/0.jpg. Put"):
        load_split(path, samples.subset(range(1, 20)), "data")
    with pytest.warns(UserWarning, match="1 photographs of other parts .*: class 0/0.jpg"):
        found = load_split(path, samples.subset(range(1, 20)), "data", needed=["test"])
    assert {name: len(part) for name, part in found.items()} == {"train": 15, "val": 2, "test": 2}
    moved = Samples(samples.paths, samples.labels, ["class 0", "renamed"])
    with pytest.raises(ValueError, match="but not its class, 'renamed'. For another"):
        load_split(path, moved, "data")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"train": ["a"]}',
        '{"class_names": ["a"]}',
        '{"class_names": ["a"], "train": [1]}',
        '{"class_names": ["a"], "train": []}',
        '{"class_names": ["a"], "train": ["a"], "notes": ["b"]}',
    ],
)
def test_a_foreign_file(tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="split.json is no split as `save_split` writes it"):
        load_split(path, make([2]), "data")


def test_words_for_splits():
    assert [split_name(word) for word in ("Train", "valid", "VALIDATION", "testing")] == [
        "train",
        "val",
        "val",
        "test",
    ]
    for wrong in ("trainval", "", None, 3):
        with pytest.raises(ValueError, match="`split` must be 'train', 'val' or 'test'"):
            split_name(wrong)
