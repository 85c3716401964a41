import os
import pathlib
import shutil
import warnings

import numpy as np
import pytest

from cin_keras.data import image_folder
from cin_keras.data.loaders.image_folder import folder_splits
from tests.data.small_sets import write_files


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "photographs"


@pytest.fixture(autouse=True)
def _no_warning_unless_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def names(samples, folder):
    return [pathlib.Path(path).relative_to(folder).as_posix() for path in samples.paths]


def test_one_folder_a_class_in_natural_order(folder):
    write_files(folder, "b 10/1.png", "b 2/10.JPG", "b 2/2.webp", "b 2/1.jpeg", "A/1.png")
    samples = image_folder(str(folder))
    assert samples.class_names == ("A", "b 2", "b 10")
    assert names(samples, folder) == [
        "A/1.png",
        "b 2/1.jpeg",
        "b 2/2.webp",
        "b 2/10.JPG",
        "b 10/1.png",
    ]
    assert samples.labels.tolist() == [0, 1, 1, 1, 2]
    assert repr(samples) == "Samples(3 classes, 5 images, 1–3 a class)"
    assert samples.read(0).getpixel((0, 0)) == (4, 4, 4)


def test_names_of_any_kind(folder):
    long = "x" * 200
    write_files(folder, "Čáp černý/füße.png", f"{long}/{long}.png", "鳥/1.png")
    samples = image_folder(folder)
    assert set(samples.class_names) == {"Čáp černý", "鳥", long}
    assert all(samples.read(i).size == (4, 4) for i in range(3))


def test_hidden_files_are_ignored(folder):
    write_files(
        folder, "cat/1.png", "cat/._1.png", "cat/Thumbs.db", ".git/1.png", "__MACOSX/cat/1.png"
    )
    write_files(folder, "dog/1.png", ".DS_Store")
    assert names(image_folder(folder), folder) == ["cat/1.png", "dog/1.png"]


def test_files_that_are_no_images_are_named(folder):
    write_files(folder, "cat/1.png", "cat/notes.txt", "README.md", "dog/1.png", "dog/1.mov")
    with pytest.warns(
        UserWarning,
        match="3 files in .* no images by their names .*left out: README.md, cat/notes.txt, dog/1.mov",
    ) as caught:
        samples = image_folder(folder)
    assert len(caught) == 1
    assert names(samples, folder) == ["cat/1.png", "dog/1.png"]
    assert caught[0].filename == __file__


def test_images_without_a_class_are_named(folder):
    write_files(folder, "cat/1.png", "dog/1.png", "loose.png")
    with pytest.warns(UserWarning, match="1 images lie in .* itself, .*left out: loose.png"):
        assert len(image_folder(folder)) == 2


def test_empty_classes_are_named(folder):
    write_files(folder, "cat/1.png", "dog/1.png")
    (folder / "owl").mkdir()
    (folder / "yak" / "inner").mkdir(parents=True)
    with pytest.warns(
        UserWarning, match="2 folders in .* hold no image and are no classes: owl, yak"
    ):
        assert image_folder(folder).class_names == ("cat", "dog")


def test_folders_within_a_class(folder):
    write_files(folder, "cat/2024/1.png", "cat/2023/may/1.png", "cat/9.png", "dog/1.png")
    with pytest.warns(
        UserWarning,
        match="within the folder of a class .* 1 of the 2 .*: cat has 2023/may, 2024.*--levels",
    ):
        samples = image_folder(folder)
    assert names(samples, folder) == [
        "cat/9.png",
        "cat/2023/may/1.png",
        "cat/2024/1.png",
        "dog/1.png",
    ]


def test_a_folder_too_many_above_the_classes(folder):
    write_files(folder, "archive/cat/1.png", "archive/dog/1.png")
    with pytest.raises(
        ValueError,
        match="one folder with photographs, archive, .*cat, dog. If these are the classes, give .*archive'",
    ):
        image_folder(folder)


def test_one_class_and_one_image(folder):
    write_files(folder, "cat/1.png")
    assert repr(image_folder(folder)) == "Samples(1 class, 1 image, 1–1 a class)"


def test_links(folder, tmp_path):
    write_files(tmp_path / "store", "1.png")
    write_files(folder, "dog/1.png")
    (folder / "cat").symlink_to(tmp_path / "store")
    (folder / "dog" / "2.png").symlink_to(tmp_path / "gone.png")
    samples = image_folder(folder)
    assert names(samples, folder) == ["cat/1.png", "dog/1.png", "dog/2.png"]
    with pytest.raises(ValueError, match="Cannot decode .*dog/2.png"):
        samples.read(2)
    (folder / "dog" / "round").symlink_to(folder / "dog")
    (folder / "owl").symlink_to(folder / "owl")
    (folder / "dog" / "3.png").symlink_to(folder / "dog" / "3.png")
    with pytest.warns(UserWarning) as caught:
        samples = image_folder(folder)
    messages = [str(warning.message) for warning in caught]
    assert "dog/round is left out: it is a link to a folder that it lies in" in messages[1]
    assert "1 files in" in messages[0] and messages[0].endswith("left out: owl.")
    assert names(samples, folder) == ["cat/1.png", "dog/1.png", "dog/2.png", "dog/3.png"]
    with pytest.raises(ValueError, match="Cannot decode .*dog/3.png.*symbolic links"):
        samples.read(3)


def test_nothing_there(folder):
    with pytest.raises(
        FileNotFoundError, match="No folder of photographs. Received: data_dir=.*photographs"
    ):
        image_folder(folder)
    folder.mkdir()
    with pytest.raises(
        ValueError, match="one folder of photographs a class, .* no folder with a photograph"
    ):
        image_folder(folder)


# === train, val, test ===


@pytest.mark.parametrize("val", ["val", "valid", "Validation"])
def test_divided(folder, val):
    write_files(
        folder,
        "train/cat/1.png",
        "train/cat/2.png",
        "train/dog/1.png",
        f"{val}/dog/3.png",
        "test/cat/4.png",
    )
    assert names(image_folder(folder), folder) == [
        "train/cat/1.png",
        "train/cat/2.png",
        "train/dog/1.png",
    ]
    for word in ("val", "validation"):
        samples = image_folder(folder, word)
        assert names(samples, folder) == [f"{val}/dog/3.png"]
        assert (samples.class_names, samples.labels.tolist()) == (("cat", "dog"), [1])
    assert image_folder(folder, "test").labels.tolist() == [0]


def test_classes_that_only_some_parts_have(folder):
    write_files(folder, "train/b/1.png", "test/a/1.png", "test/b/1.png", "train/c/1.png")
    for split, labels in (("train", [1, 2]), ("test", [0, 1])):
        with pytest.warns(UserWarning, match="Classes of .* without an image in train/: a"):
            samples = image_folder(folder, split)
        assert samples.class_names == ("a", "b", "c")
        assert samples.labels.tolist() == labels


def test_a_part_that_is_missing_or_has_no_classes(folder):
    write_files(folder, "train/cat/1.png", "train/dog/1.png", "test/1.png")
    with pytest.warns(UserWarning, match="test/ in .* holds photographs, but in no folder that is called like a cl"):
        assert len(image_folder(folder)) == 2
    for split in ("val", "test"):
        with pytest.raises(
            ValueError, match=f"no folder for '{split}' with one folder a class .*only train/"
        ):
            image_folder(folder, split)
    with pytest.raises(ValueError, match="`split` must be 'train', 'val' or 'test'"):
        image_folder(folder, "trainval")


def test_divided_or_not_is_never_guessed(folder):
    write_files(folder, "train/cat/1.png", "dog/1.png")
    with pytest.raises(
        ValueError, match="or train/, val/ and test/ alone. Received: train/ beside dog/"
    ):
        image_folder(folder)


def test_a_class_may_be_called_train(folder):
    write_files(folder, "train/1.png", "bus/1.png")
    assert image_folder(folder).class_names == ("bus", "train")


def test_parts_without_classes(folder):
    write_files(folder, "train/1.png", "test/2.png")
    with pytest.raises(
        ValueError,
        match="must hold one folder a class. Received: photographs that lie in it directly",
    ):
        image_folder(folder)


def test_two_names_for_one_part(folder):
    write_files(folder, "val/cat/1.png", "valid/cat/1.png")
    with pytest.raises(ValueError, match="val/ and valid/, which mean the same"):
        image_folder(folder)


def test_other_files_beside_the_parts(folder):
    write_files(folder, "train/cat/1.png", "train/dog/1.png", "annotations/1.xml")
    assert len(image_folder(folder)) == 2


@pytest.mark.parametrize("name", ["train", "Training", "train_set", "trainset", "seg_train"])
def test_what_archives_leave(folder, name):
    write_files(folder, f"{name}/{name}/cat/1.png", f"{name}/{name}/dog/1.png")
    write_files(folder, "test/test/cat/2.png", "__MACOSX/test/cat/._2.png")
    assert names(image_folder(folder), folder / name / name) == ["cat/1.png", "dog/1.png"]
    assert names(image_folder(folder, "test"), folder) == ["test/test/cat/2.png"]
    assert image_folder(folder / name).class_names == ("cat", "dog")


def test_photographs_of_no_known_class(folder):
    write_files(folder, "cat/1.png", "dog/1.png", "test/1.png")
    with pytest.raises(ValueError, match="test holds photographs of no known class, beside the cl"):
        image_folder(folder)
    write_files(folder / "b", "train/cat/1.png", "train/dog/1.png", "train/0.png", "9.png")
    with pytest.warns(UserWarning) as caught:
        samples = image_folder(folder / "b")
    assert names(samples, folder / "b") == ["train/cat/1.png", "train/dog/1.png"]
    assert "The folder itself in" in str(caught[0].message)
    assert "1 images lie in" in str(caught[1].message)


# === What is no class ===


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "$RECYCLE.BIN", "lost+found", "System Volume Information", ".ipynb_checkpoints",
     "#recycle", "__MACOSX", ".Trash-1000", "@Recently-Snapshot", "LOST.DIR", "Recycled",
     "__pycache__", "@__thumb"],
)  # fmt: skip
def test_what_systems_leave(folder, name):
    write_files(folder, "cat/1.png", f"cat/{name}/1.png", "dog/1.png", f"{name}/cat/1.png")
    assert names(image_folder(folder), folder) == ["cat/1.png", "dog/1.png"]
    write_files(folder / "b", "train/cat/1.png", "train/dog/2.png", f"train/{name}/1.png")
    assert names(image_folder(folder / "b"), folder / "b") == ["train/cat/1.png", "train/dog/2.png"]


@pytest.mark.parametrize("mark", [".cin_keras_results", "state.zip", "model.keras", "metrics.json"])
def test_results_of_this_package(folder, mark):
    write_files(folder, "cat/1.png", "dog/1.png", "runs/pets/confusion_matrix.png")
    (folder / "runs" / "pets" / mark).touch()
    with pytest.warns(UserWarning, match="holds results of cin_keras.*: runs/pets"):
        assert image_folder(folder).class_names == ("cat", "dog")


@pytest.mark.parametrize("masks", ["segmentations", "Masks", "annotations", "trimaps"])
@pytest.mark.parametrize("deep", [True, False])
def test_masks_beside_photographs(folder, masks, deep):
    inner = ["a/1.png", "b/2.png"] if deep else ["1.png", "2.png"]
    write_files(folder, *(f"{top}/{name}" for top in ("images", masks) for name in inner))
    with pytest.raises(
        ValueError,
        match=f"one folder a class. Received: images/ beside {masks}/.*such as '.*images'",
    ):
        image_folder(folder)


def test_parts_that_are_called_otherwise(folder):
    write_files(folder, *(f"{p}/{name}/1.png" for p in ("old", "new") for name in "abcdefghij"))
    with pytest.raises(
        ValueError,
        match="new, old, which all hold the same folders .a, b, c, d, e, .*. and .* such as '.*new'",
    ):
        image_folder(folder)
    write_files(folder / "views", *(f"mug {i}/{v}/1.png" for i in (1, 2, 3) for v in "lrfbt"))
    with pytest.warns(UserWarning, match="within the folder of a class"):
        assert image_folder(folder / "views").num_classes == 3


def test_one_name_in_two_unicode_forms(folder):
    write_files(folder, "caf\u00e9/1.png", "cafe\u0301/2.png", "tea/1.png")
    with pytest.warns(UserWarning, match="Folders of .* form of Unicode are one class: ca"):
        samples = image_folder(folder)
    assert samples.class_names == ("caf\u00e9", "tea")
    assert sorted(samples.labels.tolist()) == [0, 0, 1]
    write_files(folder / "b", "train/caf\u00e9/1.png", "train/tea/1.png", "test/cafe\u0301/2.png")
    assert image_folder(folder / "b", "test").class_names == ("caf\u00e9", "tea")


def test_blanks_at_the_end_of_a_name(folder):
    write_files(folder, "cat/1.png", "cat /2.png", " dog/1.png")
    with pytest.warns(UserWarning, match="the same but for blanks at an end .* one class: cat"):
        samples = image_folder(folder)
    assert samples.class_names == ("cat", "dog") and samples.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize("inner", ["images", "unknown"])
def test_parts_whose_folders_are_no_classes(folder, inner):
    """As Tiny ImageNet comes."""
    write_files(folder, "train/a/1.png", "train/b/1.png", f"val/{inner}/2.png")
    write_files(folder, f"test/{inner}/3.png", "train/c/1.png", "test/c/1.png")
    assert folder_splits(folder) == ("train", "test")
    with pytest.warns(UserWarning) as found:
        samples = image_folder(folder)
    assert samples.class_names == ("a", "b", "c", inner)
    assert "val/ in " in str(found[0].message) and "nobody knows their classes" in str(found[0].message)
    assert f"Classes of {folder} without an image in train/: {inner}" in str(found[1].message)


def test_a_part_that_is_empty_is_said(folder):
    write_files(folder, "train/a/1.png", "train/b/1.png", "test/a/1.png")
    (folder / "val" / "a").mkdir(parents=True)
    with pytest.warns(UserWarning, match="val/ in .* holds no photograph, and is as if it were not"):
        assert len(image_folder(folder)) == 2


@pytest.mark.parametrize("masks", ["masks", "Thumbnails"])
def test_what_belongs_to_photographs_beside_classes(folder, masks):
    numbered = [f"{name}/{i}.png" for name in ("hat", "scarf", masks) for i in range(4)]
    write_files(folder / "numbered", *numbered)
    with pytest.warns(UserWarning, match=f"{masks}/ in .* is taken for a class. If it is none, move"):
        assert image_folder(folder / "numbered").num_classes == 3
    shutil.rmtree(folder)
    write_files(folder, "a/1.png", "b/2.png", f"{masks}/1.jpg", f"{masks}/2.jpg")
    with pytest.raises(ValueError, match=f"Received: {masks}/, whose images are called as those of"):
        image_folder(folder)
    write_files(folder / "faces", "hats/1.png", f"{masks}/2.jpg")
    with pytest.warns(UserWarning, match=f"{masks}/ in .* is taken for a class. If it is none, move"):
        assert image_folder(folder / "faces").num_classes == 2


def test_masks_beside_photographs_in_a_part(folder):
    for part in ("train", "val"):
        write_files(folder, f"{part}/images/1.png", f"{part}/masks/1.png")
    with pytest.raises(ValueError, match=r"train must hold one folder a class. Received: images/ bes"):
        image_folder(folder)


@pytest.mark.parametrize("parts", ["x_train x_test", "trn tst", "fold1 fold2 fold3"])
def test_parts_that_are_called_otherwise_with_few_classes(folder, parts):
    write_files(folder, *(f"{part}/{name}/1.png" for part in parts.split() for name in "ab"))
    with pytest.raises(ValueError, match=r"parts of a data set. Name them train/, val/ and test/"):
        image_folder(folder)


@pytest.mark.parametrize("where", ["", "train/"])
def test_one_name_in_two_cases(folder, where):
    write_files(folder, f"{where}Cat/1.png", f"{where}dog/1.png", f"{where and 'test/'}cat/1.png")
    with pytest.raises(
        ValueError, match="classes 'Cat' and 'cat', whose names differ in upper and"
    ):
        image_folder(folder)
    write_files(folder / "letters", "A/1.png", "a/1.png")
    assert image_folder(folder / "letters").num_classes == 2


def test_names_that_no_one_can_read(folder):
    write_files(folder, "cat/1.png", "dog/1.png", "dog/a\nb.png", "dog/x\ny.txt")
    odd = os.fsdecode(b"caf\xe9")
    write_files(folder, f"{odd}/{odd}.png")
    with pytest.warns(UserWarning, match=r"left out: dog/x\\ny.txt") as caught:
        samples = image_folder(folder)
    assert "\n" not in str(caught[0].message)
    assert samples.class_names == ("caf\\xe9", "cat", "dog")
    assert all(samples.read(i).size == (4, 4) for i in range(4))
    split_file = folder.parent / "split.json"
    with pytest.warns(UserWarning):
        parts = [
            image_folder(folder, part, split_file=split_file, test_fraction=0)
            for part in ("train", "val", "train")
        ]
    assert parts[0].paths == parts[2].paths
    assert sorted(parts[0].paths + parts[1].paths) == sorted(samples.paths)


def test_a_folder_that_cannot_be_listed(folder, monkeypatch):
    write_files(folder, "cat/1.png", "dog/1.png", "owl/1.png")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "owl":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(
        UserWarning, match="owl is left out: the folder cannot be listed: Permission"
    ):
        assert image_folder(folder).class_names == ("cat", "dog")
    write_files(folder.parent / "cars", "audi/a4/1.png", "bmw/x5/1.png", "owl/x/1.png")
    with pytest.warns(UserWarning, match="owl is left out: the folder cannot be listed"):
        cars = image_folder(folder.parent / "cars", levels=["make", "model"])
    assert cars.class_names == ("audi/a4", "bmw/x5")


# === a random split ===


@pytest.fixture
def forty(folder):
    return write_files(folder, *[f"{'cat' if i % 2 else 'dog'}/{i}.png" for i in range(40)])


def test_random_parts_make_up_the_whole(forty):
    parts = [image_folder(forty, split, seed=3) for split in ("train", "val", "test")]
    assert [np.bincount(part.labels).tolist() for part in parts] == [[16, 16], [2, 2], [2, 2]]
    assert sorted(p for part in parts for p in part.paths) == sorted(image_folder(forty).paths)
    assert image_folder(forty, "test", seed=3).paths == parts[2].paths
    assert image_folder(forty, "test", seed=4).paths != parts[2].paths


def test_a_split_that_is_written_down_stays(forty, tmp_path):
    split_file = tmp_path / "run" / "split.json"
    first = {s: image_folder(forty, s, split_file=split_file) for s in ("train", "val", "test")}
    assert split_file.is_file()
    write_files(forty, "cat/99.png", "owl/1.png", "owl/2.png")
    for split, samples in first.items():
        with pytest.warns(
            UserWarning, match="3 images of .* left out: cat/99.png, owl/1.png, owl/2"
        ):
            again = image_folder(forty, split, split_file=split_file, seed=8, test_fraction=0.5)
        assert again.paths == samples.paths
        assert again.class_names == ("cat", "dog")
    os.unlink(first["val"].paths[0])
    with pytest.raises(FileNotFoundError, match="1 of the 40 photographs"):
        image_folder(forty, "train", split_file=split_file)


def test_arguments_that_do_not_fit(forty, tmp_path):
    with pytest.raises(ValueError, match="The split has no 'val', but 'train', 'test'"):
        image_folder(forty, "val", validation_fraction=0)
    with pytest.raises(ValueError, match="`split` must be 'train', 'val' or 'test'.*split=None"):
        image_folder(forty, split_file=tmp_path / "split.json")
    with pytest.raises(ValueError, match="`split` must be .*'trainval'"):
        image_folder(forty, "trainval")
    write_files(tmp_path / "divided", "train/cat/1.png")
    with pytest.raises(ValueError, match="divided into train/ already, and needs no `split_file`"):
        image_folder(tmp_path / "divided", "train", split_file=tmp_path / "split.json")


def test_nested_folders_are_levels(folder):
    write_files(
        folder, "Audi/A4/1.png", "Audi/A4/old/2.png", "Audi/TT/1.png", "BMW/M3/1.png", "BMW/x.png"
    )
    with pytest.warns(UserWarning) as caught:
        samples = image_folder(folder, levels=["make", "model"])
    told = " ".join(str(each.message) for each in caught)
    assert "1 images lie in" in told and "BMW/x.png" in told and "Audi/A4 has old" in told
    assert samples.class_names == ("Audi/A4", "Audi/TT", "BMW/M3")
    assert samples.hierarchy == {"make": ("Audi", "Audi", "BMW")}
    assert names(samples, folder) == [
        "Audi/A4/1.png", "Audi/A4/old/2.png", "Audi/TT/1.png", "BMW/M3/1.png",
    ]  # fmt: skip
    assert samples.labels.tolist() == [0, 0, 1, 2]


def test_levels_of_a_divided_folder_and_of_three(folder):
    write_files(folder, "train/a/b/c/1.png", "train/a/b/d/1.png", "test/a/e/c/1.png")
    with pytest.warns(UserWarning, match="Classes of .* without an image in train/: a/e/c"):
        samples = image_folder(folder, "train", levels=("order", "family", "species"))
    assert samples.class_names == ("a/b/c", "a/b/d", "a/e/c") and len(samples) == 2
    assert samples.hierarchy == {"order": ("a",) * 3, "family": ("a/b", "a/b", "a/e")}
    with (
        pytest.raises(ValueError, match="in a/b/c/d/, or train"),
        pytest.warns(UserWarning, match="2 images lie in .* above the folders of classes"),
    ):
        image_folder(folder / "train" / "a", levels="a b c d".split())
    for levels in ("make", [], [""]):
        with pytest.raises(ValueError, match="`levels` must"):
            image_folder(folder, levels=levels)
