import itertools

import pytest

from cin_keras.data import Samples, find_duplicates
from tests.data.small_sets import write_files


def samples_of(root, contents, labels=None):
    for name, content in contents.items():
        write_files(root, name, content=content)
    labels = labels or [0] * len(contents)
    return Samples([root / name for name in contents], labels, ["cat", "dog"])


def test_the_same_bytes_under_other_names(tmp_path):
    contents = [b"a", b"b", b"same", b"othr", b"a", b"c" * 100000, b"c" * 99999 + b"d"]
    train = samples_of(tmp_path, {f"train/{i}": c for i, c in enumerate(contents)})
    others = [b"same", b"b", b"a", b"long" * 9, b"c" * 99999 + b"d", b"same"]
    test = samples_of(tmp_path, {f"test/{i}": c for i, c in enumerate(others)}, [0, 1, 0, 0, 0, 1])
    found = find_duplicates(train, test)
    pairs = {
        (i, j)
        for (i, a), (j, b) in itertools.product(enumerate(contents), enumerate(others))
        if a == b
    }
    first = {j: min(i for i, k in pairs if k == j) for _, j in pairs}
    assert list(found.pairs) == [(first[j], j) for j in sorted(first)]
    assert found.train_indices == tuple(sorted({i for i, _ in pairs}))
    assert len(found) == 5
    assert repr(found).startswith(
        f"5 of the 6 images of the one set are in the other, too, 2 of them under another class: "
        f"'{tmp_path}/train/2' = '{tmp_path}/test/0'; "
    )
    clean = found.train_without()
    assert [contents[train.paths.index(path)] for path in clean.paths] == [b"othr", b"c" * 100000]
    assert not find_duplicates(clean, test)


def test_none(tmp_path):
    train = samples_of(tmp_path, {"a": b"1", "b": b"23"})
    test = samples_of(tmp_path, {"c": b"2", "d": b"32"})
    found = find_duplicates(train, test)
    assert (len(found), repr(found)) == (0, "No image of the one set is in the other.")
    assert found.train_without().paths == train.paths


def test_files_against_memory(tmp_path):
    train = samples_of(tmp_path, {"a": b"1", "b": b"23"})
    test = Samples(["x", "y"], [0, 0], ["cat"], encoded=[b"23", b"3"])
    assert find_duplicates(train, test).pairs == ((1, 0),)


def test_only_files_of_a_common_size_are_read(tmp_path, monkeypatch):
    train = samples_of(tmp_path, {"a": b"1", "b": b"23"})
    test = samples_of(tmp_path, {"c": b"321", "d": b"32"})
    monkeypatch.setattr("builtins.open", _opening(opened := []))
    assert not find_duplicates(train, test)
    assert sorted(opened) == sorted([train.paths[1], test.paths[1]])


def _opening(opened, original=open):
    def spy(path, *args, **kwargs):
        opened.append(path)
        return original(path, *args, **kwargs)

    return spy


def test_a_bar_for_many_files(monkeypatch, capsys, tmp_path):
    train = samples_of(tmp_path, {"a": b"1", "b": b"2"})
    find_duplicates(train, train)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("cin_keras.data.verify.duplicates._SHOW_PROGRESS_ABOVE", 3)
    find_duplicates(train, train, verbose=0)
    assert capsys.readouterr().err == ""
    find_duplicates(train, train)
    assert "4/4" in capsys.readouterr().err


def test_a_file_that_is_gone(tmp_path):
    train = samples_of(tmp_path, {"a": b"1"})
    (tmp_path / "a").unlink()
    with pytest.raises(ValueError, match="Cannot decode .*/a' .there is no such file"):
        find_duplicates(train, train)
