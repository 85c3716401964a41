import numpy as np
import pytest

import cin_keras
from cin_keras.data import (
    cub_200_2011,
    fgvc_aircraft,
    find_data_set,
    find_layout,
    find_splits,
    image_folder,
    pair_dataset,
    stanford_cars,
)
from tests.data.small_sets import (
    write_cub_200_2011,
    write_fgvc_aircraft,
    write_files,
    write_stanford_cars,
)


def write_table(root, lines):
    (root / "table.csv").write_text("path,label,split\n" + "\n".join(lines) + "\n")
    return root / "table.csv"


def test_published_data_sets(tmp_path):
    cases = [
        ("stanford_cars", write_stanford_cars, stanford_cars),
        ("cub_200_2011", write_cub_200_2011, cub_200_2011),
        ("fgvc_aircraft", write_fgvc_aircraft, fgvc_aircraft),
    ]
    for name, write, load in cases:
        root = write(tmp_path / name)
        assert find_layout(root) == name
        for split in ("train", "test"):
            assert find_data_set(root, split).paths == load(root, split).paths
    samples = find_data_set(tmp_path / "fgvc_aircraft", "val", level="manufacturer")
    assert samples.class_names == ("Boeing", "McDonnell Douglas")


def test_a_damaged_data_set_is_not_taken_for_something_else(tmp_path):
    root = write_stanford_cars(tmp_path / "cars")
    (root / "devkit" / "cars_meta.mat").unlink()
    with pytest.raises(FileNotFoundError, match="Missing file: .*cars_meta.mat"):
        find_data_set(root)


def test_own_photographs(tmp_path):
    root = write_files(tmp_path / "own", *[f"{'ab'[i % 2]}/{i}.png" for i in range(40)])
    assert find_layout(root) == "image_folder"
    assert find_data_set(root, "test", seed=5).paths == image_folder(root, "test", seed=5).paths
    write_files(tmp_path, "1.png", "2.png")
    table = write_table(tmp_path, ["1.png,a,train", "2.png,b,test"])
    assert find_layout(table) == "table"
    assert find_data_set(table, "test").labels.tolist() == [1]


def test_the_images_of_a_published_set_are_said_to_be_so(tmp_path):
    root = write_cub_200_2011(tmp_path / "CUB_200_2011")
    with pytest.warns(UserWarning, match="part of a published data set, .*CUB_200_2011'") as found:
        find_splits(root / "images", validation_fraction=0.3, test_fraction=0.3)
    assert "split of training and test is not used: give the folder around it" in str(found[0].message)


def test_classes_in_folders_called_as_those_of_stanford_cars(tmp_path):
    names = [f"{part}/{name}/1.png" for part in ("cars_train", "cars_test") for name in "ab"]
    write_files(tmp_path / "cars", *names)
    assert find_layout(tmp_path / "cars") == "image_folder"
    with pytest.raises(ValueError, match="parts of a data set. Name them train/, val/ and test/"):
        find_splits(tmp_path / "cars")


def test_nothing_to_find(tmp_path):
    with pytest.raises(FileNotFoundError, match="No data set. Received: data_dir=.*nowhere"):
        find_layout(tmp_path / "nowhere")
    write_files(tmp_path, "1.png", ".cache/1.png")
    with pytest.raises(ValueError, match="holds no data set: neither Stanford Cars .* a class"):
        find_layout(tmp_path)


# === all parts ===


def check_whole(splits, *expected):
    assert list(splits) == ["train", "val", "test"]
    assert len({part.class_names for part in splits.values()}) == 1
    paths = [path for part in splits.values() for path in part.paths]
    assert sorted(paths) == sorted(path for part in expected for path in part.paths)


def test_what_a_data_set_lacks_is_held_out(tmp_path):
    root = write_stanford_cars(tmp_path / "cars")
    splits = find_splits(root, validation_fraction=0.5)
    train, test = stanford_cars(root, "train"), stanford_cars(root, "test")
    check_whole(splits, train, test)
    assert splits["test"].paths == test.paths
    rest, held_out = train.split(0.5, seed=0)
    assert (splits["train"].paths, splits["val"].paths) == (rest.paths, held_out.paths)
    assert splits["val"].boxes is not None


def test_aircraft_trains_on_trainval(tmp_path):
    root = write_fgvc_aircraft(tmp_path / "aircraft")
    splits = find_splits(root, level="manufacturer", validation_fraction=0.4)
    check_whole(splits, *(fgvc_aircraft(root, split) for split in ("trainval", "test")))
    assert splits["train"].num_classes == 2
    assert splits["val"].read(0).size == (30, 30)


def test_folders_and_tables_keep_their_own_parts(tmp_path):
    names = [f"{part}/{'ab'[i % 2]}/{part}{i}.png" for part in ("train", "val") for i in range(8)]
    root = write_files(tmp_path / "own", *names)
    splits = find_splits(root, test_fraction=0.25)
    check_whole(splits, image_folder(root, "train"), image_folder(root, "val"))
    assert splits["val"].paths == image_folder(root, "val").paths
    assert np.bincount(splits["test"].labels).tolist() == [1, 1]
    lines = [f"own/{name},{name.split('/')[1]},{name.split('/')[0]}" for name in names]
    again = find_splits(write_table(tmp_path, lines), test_fraction=0.25)
    assert sorted(again["val"].paths) == sorted(splits["val"].paths)
    assert again["test"].labels.tolist() == [0, 1]


def test_rows_of_other_splits_are_named(tmp_path):
    write_files(tmp_path, *[f"{i}.png" for i in range(40)])
    words = ["train"] * 20 + ["dev"] * 10 + ["test"] * 6 + ["extra"] * 3 + ["Ignore"]
    lines = [f"{i}.png,{'ab'[i % 2]},{word}" for i, word in enumerate(words)]
    with pytest.warns(UserWarning, match=r"left out: 'extra' \(3 rows\), 'Ignore' \(1 rows\)"):
        splits = find_splits(write_table(tmp_path, lines))
    assert [len(part) for part in splits.values()] == [20, 10, 6]
    table = write_table(tmp_path, [line.replace(",dev", ",VALID") for line in lines[:36]])
    assert [len(part) for part in find_splits(table).values()] == [20, 10, 6]
    with pytest.raises(ValueError, match=r"splits 'extra' \(3 rows\), .*none of which is 'train'"):
        find_splits(write_table(tmp_path, lines[36:]))


def test_options_of_tables(tmp_path):
    root = write_files(tmp_path / "own", *[f"{'ab'[i % 2]}/{i}.png" for i in range(40)])
    lines = ["file;species", *(f"own/{'ab'[i % 2]}/{i}.png;{i % 2}" for i in range(40))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    columns = {"path_column": "file", "label_column": "species", "class_names": ["cat", "dog"]}
    splits = find_splits(tmp_path / "t.csv", **columns, delimiter=";")
    assert splits["train"].class_names == ("cat", "dog")
    assert len(find_data_set(tmp_path / "t.csv", None, **columns)) == 40
    for name, value in columns.items():
        with pytest.raises(ValueError, match=f"`{name}` is for a CSV table. Received: "):
            find_splits(root, **{name: value})


def test_a_tables_own_splits_can_be_ignored(tmp_path):
    write_files(tmp_path, *[f"{'ab'[i % 2]}/{i}.png" for i in range(40)])
    rows = [f"{'ab'[i % 2]}/{i}.png,{i % 2},{['train', 'test'][i // 30]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]))
    assert len(find_splits(tmp_path / "t.csv")["test"]) == 10
    parts = find_splits(tmp_path / "t.csv", split_column=None).values()
    assert sum(map(len, parts)) == 40
    assert [len(part) for part in parts] != [30, 0, 10]
    assert len(find_data_set(tmp_path / "t.csv", None, split_column=None)) == 40


@pytest.mark.parametrize("size", [2, 3, 5])
def test_classes_of_few_images(tmp_path, size):
    root = write_files(tmp_path, *[f"{c:02}/{i}.png" for c in range(20) for i in range(size)])
    if size < 3:
        with pytest.warns(
            UserWarning, match="20 of the 20 classes have fewer than three images, t"
        ):
            splits = find_splits(root)
    else:
        splits = find_splits(root)
    held_out = 2 * size
    assert [len(part) for part in splits.values()] == [20 * size - 2 * held_out, held_out, held_out]
    assert np.bincount(splits["train"].labels, minlength=20).min() >= 1


def test_two_classes_of_two_images(tmp_path):
    root = write_files(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    with pytest.warns(UserWarning, match="2 of the 2 classes have fewer than three images"):
        splits = find_splits(root)
    assert [len(part) for part in splits.values()] == [2, 1, 1]
    pairs = pair_dataset(splits["train"], image_size=4, pairs_per_batch=1)
    assert len(list(pairs)) == 1


def test_one_class_is_nothing_to_tell_apart(tmp_path):
    root = write_files(tmp_path, *[f"images/{i}.png" for i in range(9)], "notes/a.txt")
    with (
        pytest.warns(UserWarning),
        pytest.raises(ValueError, match="one class only, 'images': the"),
    ):
        find_splits(root)


def test_nothing_to_train_on(tmp_path):
    root = write_files(tmp_path / "own", "test/a/1.png", "test/b/1.png")
    with pytest.raises(ValueError, match="has nothing to train on, only 'test'"):
        find_splits(root)


@pytest.mark.parametrize("divided", [True, False])
def test_a_split_that_is_written_down(tmp_path, divided):
    prefix = "train/" if divided else ""
    names = [f"{prefix}{'ab'[i % 2]}/{i}.png" for i in range(40)]
    names += ["test/a/1.png", "test/b/1.png"] * divided
    root, split_file = write_files(tmp_path / "own", *names), tmp_path / "run" / "split.json"
    first = find_splits(root, split_file=split_file)
    write_files(root, f"{prefix}a/100.png")
    with pytest.warns(UserWarning, match=f"1 images of .* left out: {prefix}a/100.png"):
        again = find_splits(root, split_file=split_file, seed=1)
    assert [part.paths for part in again.values()] == [part.paths for part in first.values()]
    assert [list(p.labels) for p in again.values()] == [list(p.labels) for p in first.values()]


def test_levels_of_nested_folders_and_of_no_published_set(tmp_path):
    names = [f"{name}/{i}.png" for name in ("Audi/A4", "BMW/M3") for i in range(5)]
    write_files(tmp_path / "cars", *names)
    parts = find_splits(tmp_path / "cars", levels=["make", "model"], split_file=tmp_path / "s.json")
    again = find_splits(tmp_path / "cars", levels=["make", "model"], split_file=tmp_path / "s.json")
    for name in ("train", "val", "test"):
        assert parts[name].hierarchy == {"make": ("Audi", "BMW")}
        assert again[name].paths == parts[name].paths and again[name].hierarchy
    write_fgvc_aircraft(tmp_path / "aircraft")
    with pytest.raises(ValueError, match="`levels` is for nested folders"):
        find_data_set(tmp_path / "aircraft", levels=["a", "b"])


@pytest.mark.parametrize("data_dir", ["", None, 5])
@pytest.mark.parametrize(
    "load", [find_splits, find_data_set, *(getattr(cin_keras.data, name) for name in (
        "image_folder", "from_table", "stanford_cars", "cub_200_2011", "fgvc_aircraft",
        "oxford_iiit_pet",
    ))]
)  # fmt: skip
def test_nothing_is_no_path(tmp_path, monkeypatch, load, data_dir):
    """An empty text would be the current folder."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    with pytest.raises(ValueError, match=f"must be a path, and not empty.*={data_dir!r}"):
        load(data_dir)
