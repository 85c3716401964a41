import pathlib

import numpy as np
import pytest

from cin_keras.data import find_layout, stanford_cars
from tests.data.small_sets import (
    CLASS_NAMES,
    write_annotations,
    write_class_names,
    write_combined_stanford_cars,
)

REAL = pathlib.Path(__file__).parents[4] / "shared" / "data" / "stanford_cars"


def test_train(stanford_cars_folder):
    samples = stanford_cars(stanford_cars_folder, "train")
    assert samples.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert samples.class_names == tuple(CLASS_NAMES)
    assert samples.paths[1] == str(stanford_cars_folder / "cars_train" / "00002.jpg")
    # The annotation says 1 to 10 + number, 2 to 13, ends included.
    expected = [[0, 1, 10 + number, 13] for number in range(6)]
    np.testing.assert_array_equal(samples.boxes, expected)
    assert samples.read(0).size == (32, 24)
    assert samples.read(0).getpixel((5, 5)) == (60, 60, 60)


@pytest.mark.parametrize("folder", [".", "devkit"])
def test_test_with_its_labels_in_either_place(stanford_cars_folder, folder):
    name = "cars_test_annos_withlabels.mat"
    (stanford_cars_folder / name).rename(stanford_cars_folder / folder / name)
    samples = stanford_cars(str(stanford_cars_folder), "test")
    assert samples.labels.tolist() == [2, 0, 1, 1]
    assert samples.read(3).getpixel((5, 5)) == (180, 180, 180)


def test_a_single_photograph_of_a_single_class(stanford_cars_folder):
    for number in range(2, 7):
        (stanford_cars_folder / "cars_train" / f"{number:05}.jpg").unlink()
    write_annotations(stanford_cars_folder / "devkit" / "cars_train_annos.mat", [1])
    write_class_names(stanford_cars_folder / "devkit" / "cars_meta.mat", ["Only car"])
    samples = stanford_cars(stanford_cars_folder)
    assert (len(samples), samples.class_names) == (1, ("Only car",))


def test_wrong_split(stanford_cars_folder):
    with pytest.raises(ValueError, match="`split` must be 'train' or 'test'.*'validation'"):
        stanford_cars(stanford_cars_folder, "validation")


def test_photographs_one_folder_deeper(stanford_cars_folder):
    for name in ("cars_train", "cars_test"):
        (stanford_cars_folder / name).rename(stanford_cars_folder / "moved")
        (stanford_cars_folder / name).mkdir()
        (stanford_cars_folder / "moved").rename(stanford_cars_folder / name / name)
    samples = stanford_cars(stanford_cars_folder, "test")
    assert samples.paths[0] == str(stanford_cars_folder / "cars_test" / "cars_test" / "00001.jpg")
    assert samples.read(0).getpixel((5, 5)) == (180, 180, 180)


@pytest.mark.parametrize("place", [".", "car_devkit/devkit"])
def test_lists_in_other_places(stanford_cars_folder, place):
    (stanford_cars_folder / place).mkdir(parents=True, exist_ok=True)
    for file in (stanford_cars_folder / "devkit").iterdir():
        file.rename(stanford_cars_folder / place / file.name)
    (stanford_cars_folder / "devkit").rmdir()
    assert find_layout(stanford_cars_folder) == "stanford_cars"
    assert stanford_cars(stanford_cars_folder, "train").labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert stanford_cars(stanford_cars_folder, "test").labels.tolist() == [2, 0, 1, 1]


def test_all_photographs_in_one_folder(tmp_path):
    root = write_combined_stanford_cars(tmp_path / "cars", classes=(1, 3, 2, 1), test=(0, 1, 0, 1))
    assert find_layout(root) == "stanford_cars"
    train, test = stanford_cars(root, "train"), stanford_cars(root, "test")
    assert train.labels.tolist() == [0, 1] and test.labels.tolist() == [2, 0]
    assert train.class_names == test.class_names == tuple(CLASS_NAMES)
    assert train.paths[1] == str(root / "car_ims" / "000003.jpg")
    np.testing.assert_array_equal(test.boxes, [[0, 1, 11, 13], [0, 1, 13, 13]])
    assert test.read(0).size == (32, 24)
    (root / "car_ims" / "000004.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 4 photographs that .*cars_annos.mat"):
        stanford_cars(root, "train")
    (root / "cars_annos.mat").unlink()
    with pytest.raises(FileNotFoundError, match="Missing file: .*cars_annos.mat"):
        stanford_cars(root, "train")


def test_no_folder_says_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone since 2023(.|\n)*kaggle.com.*(.|\n)*devkit"):
        stanford_cars(tmp_path / "data")


def test_missing_folders(stanford_cars_folder):
    with pytest.raises(FileNotFoundError, match="No folder for Stanford Cars.*nowhere"):
        stanford_cars(stanford_cars_folder / "nowhere")
    (stanford_cars_folder / "cars_test").rename(stanford_cars_folder / "photographs")
    with pytest.raises(FileNotFoundError, match="Missing folder: .*cars_test"):
        stanford_cars(stanford_cars_folder, "test")


@pytest.mark.parametrize(
    "split, file, message",
    [
        ("train", "devkit/cars_meta.mat", "Missing file: .*cars_meta.mat"),
        ("train", "devkit/cars_train_annos.mat", "Missing file: .*cars_train_annos.mat"),
        (
            "test",
            "cars_test_annos_withlabels.mat",
            r"Missing file: .*cars/cars_test_annos_withlabels.mat or .*devkit/cars_test_annos_wit",
        ),
    ],
)
def test_missing_mat_file(stanford_cars_folder, split, file, message):
    (stanford_cars_folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=message):
        stanford_cars(stanford_cars_folder, split)


def test_broken_mat_files(stanford_cars_folder):
    annotations = stanford_cars_folder / "devkit" / "cars_train_annos.mat"
    annotations.write_bytes(annotations.read_bytes()[:150])
    with pytest.raises(ValueError, match="Cannot read .*cars_train_annos.mat as a MATLAB file"):
        stanford_cars(stanford_cars_folder)
    write_class_names(annotations, CLASS_NAMES)
    with pytest.raises(ValueError, match="cars_train_annos.mat has no variable 'annotations'"):
        stanford_cars(stanford_cars_folder)


def test_test_annotations_without_classes(stanford_cars_folder):
    unlabelled = stanford_cars_folder / "devkit" / "cars_test_annos.mat"
    unlabelled.replace(stanford_cars_folder / "cars_test_annos_withlabels.mat")
    with pytest.raises(ValueError, match="cars_test_annos_withlabels.mat has no field class$"):
        stanford_cars(stanford_cars_folder, "test")


def test_missing_photographs_are_named(stanford_cars_folder):
    for number in (2, 5):
        (stanford_cars_folder / "cars_train" / f"{number:05}.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"2 of the 6 photographs .*cars_train: 00002.jpg, 00005.jpg$"
    ):
        stanford_cars(stanford_cars_folder)
    for number in (1, 3, 4, 6):
        (stanford_cars_folder / "cars_train" / f"{number:05}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"6 of the 6 .*00004.jpg, 00005.jpg, …$"):
        stanford_cars(stanford_cars_folder)


def test_stray_photographs_are_named(stanford_cars_folder):
    folder = stanford_cars_folder / "cars_test"
    (folder / "notes.txt").write_text("no photograph")
    (folder / "._00001.jpg").write_text("left by an archive")
    assert len(stanford_cars(stanford_cars_folder, "test")) == 4
    (folder / "00099.JPG").write_bytes(b"")
    with pytest.raises(ValueError, match="1 photographs in .*cars_test are not listed .*00099.JPG"):
        stanford_cars(stanford_cars_folder, "test")


@pytest.mark.parametrize("wrong", [0, 4])
def test_class_out_of_range(stanford_cars_folder, wrong):
    annotations = stanford_cars_folder / "devkit" / "cars_train_annos.mat"
    write_annotations(annotations, [1, 1, 2, 2, 3, wrong])
    with pytest.raises(ValueError, match=f"gives 00006.jpg the class {wrong}, .* 1 to 3 .1 such"):
        stanford_cars(stanford_cars_folder)


def test_photograph_listed_twice(stanford_cars_folder):
    names = [f"0000{number}.jpg" for number in (1, 2, 3, 4, 5, 2)]
    annotations = stanford_cars_folder / "devkit" / "cars_train_annos.mat"
    write_annotations(annotations, [1] * 6, names)
    with pytest.raises(ValueError, match="lists 00002.jpg more than once"):
        stanford_cars(stanford_cars_folder)


@pytest.mark.skipif(not REAL.is_dir(), reason="the photographs are not beside the repository")
@pytest.mark.parametrize("split, count", [("train", 5541), ("test", 1635)])
def test_the_real_photographs(split, count):
    samples = stanford_cars(REAL, split)
    assert (len(samples), samples.num_classes) == (count, 196)
    image = samples.read(0)
    left, top, right, bottom = samples.boxes[0]
    assert 0 <= left < right <= image.width and 0 <= top < bottom <= image.height
