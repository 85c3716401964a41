import pathlib

import numpy as np
import pytest

from cin_keras.data import cub_200_2011
from tests.data.small_sets import CUB_FILES, write_cub_200_2011

REAL = pathlib.Path(__file__).parents[4] / "shared" / "data" / "CUB_200_2011"


@pytest.fixture
def folder(tmp_path):
    return write_cub_200_2011(tmp_path / "CUB_200_2011")


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_train(folder):
    samples = cub_200_2011(folder, "train")
    assert samples.labels.tolist() == [0, 1, 2, 2]
    assert samples.class_names == ("Black footed Albatross", "Laysan Albatross", "Sooty Albatross")
    assert samples.paths[1] == str(folder / "images" / "002.Laysan_Albatross" / "0003.jpg")
    np.testing.assert_array_equal(samples.boxes, [[i, 2, i + 10, 14] for i in (1, 3, 4, 6)])
    assert samples.parts == (
        {"beak": (3.5, 5.0, 4.5, 6.0), "left eye": (-0.5, -0.5, 0.5, 0.5)},
        {"beak": (5.5, 5.0, 6.5, 6.0), "left eye": (-0.5, -0.5, 0.5, 0.5)},
        {"beak": (6.5, 5.0, 7.5, 6.0)},
        {"beak": (8.5, 5.0, 9.5, 6.0)},
    )
    assert samples.read(2).getpixel((9, 9)) == (160, 160, 160)


def test_test_from_the_folder_around(folder):
    samples = cub_200_2011(str(folder.parent), "test")
    assert samples.labels.tolist() == [0, 1]
    assert repr(samples) == "Samples(3 classes, 2 images, 0–1 a class)"


def test_without_parts(folder):
    for name in ("parts.txt", "part_locs.txt"):
        (folder / "parts" / name).unlink()
    (folder / "parts").rmdir()
    assert cub_200_2011(folder).parts is None


def test_classes_need_not_be_numbered_in_a_row(folder):
    replace(folder / "classes.txt", "2 002.", "17 002.")
    for i in (3, 5):
        replace(folder / "image_class_labels.txt", f"{i} 2", f"{i} 17")
    assert cub_200_2011(folder).labels.tolist() == [0, 1, 2, 2]


def test_wrong_arguments(folder):
    with pytest.raises(ValueError, match="`split` must be 'train' or 'test'.*split='val'"):
        cub_200_2011(folder, "val")
    with pytest.raises(FileNotFoundError, match="No folder for CUB-200-2011.*nowhere.*download"):
        cub_200_2011(folder / "nowhere")


@pytest.mark.parametrize("name", CUB_FILES)
def test_missing_files(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Missing file: .*{name}"):
        cub_200_2011(folder)


def test_missing_and_stray_photographs(folder):
    photograph = folder / "images" / "003.Sooty_Albatross" / "0006.jpg"
    photograph.rename(photograph.with_name("0099.jpg"))
    with pytest.raises(FileNotFoundError, match="1 of the 6 photographs .*003.Sooty.*/0006.jpg$"):
        cub_200_2011(folder)
    (photograph.with_name("0099.jpg")).rename(photograph)
    (folder / "images" / "stray.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="1 photographs in .* not listed .*: stray.jpg"):
        cub_200_2011(folder)


@pytest.mark.parametrize(
    "file, old, new, message",
    [
        ("images.txt", "2 001", "1 001", "images.txt lists 1 more than once, again in line 2"),
        ("images.txt", "2 001.Black_footed_Albatross/0002.jpg", "2", "Line 2 .*two entries.*'2'"),
        ("image_class_labels.txt", "4 3", "4 9", "gives image 4 the class '9'.*none of the 3"),
        ("image_class_labels.txt", "4 3\n", "", "labels.txt has no line for image 4.*1 such"),
        ("train_test_split.txt", "6 1", "7 1", "split.txt has no line for image 6"),
        ("train_test_split.txt", "6 1", "6 1\n7 1", "images.txt has no line for image 7"),
        ("train_test_split.txt", "6 1", "6 yes", "must say 0 or 1 for image 6. Received: 'yes'"),
        ("bounding_boxes.txt", "6 6.0 2.0", "6 2.0", "must give 4 numbers for 6"),
        ("bounding_boxes.txt", "6 6.0", "6 six", "must give 4 numbers for 6.*'six 2.0"),
        ("bounding_boxes.txt", "10.0 12.0", "-1.0 12.0", "right > left"),
        ("parts/part_locs.txt", "6 2 0.0", "6 3 0.0", "part_locs.txt must hold.*'6 3 0.0 0.0 0'"),
        ("parts/part_locs.txt", "6 2 0.0", "6 2 left", "part_locs.txt must hold.*left"),
    ],
)
def test_contradictions(folder, file, old, new, message):
    replace(folder / file, old, new)
    with pytest.raises(ValueError, match=message):
        cub_200_2011(folder)


def test_files_that_are_no_text(folder):
    (folder / "classes.txt").write_bytes(b"1 \xff\xfe")
    with pytest.raises(ValueError, match="classes.txt is no text in UTF-8"):
        cub_200_2011(folder)
    (folder / "classes.txt").write_bytes(b"\n \n")
    with pytest.raises(ValueError, match="classes.txt is empty"):
        cub_200_2011(folder)


def test_a_split_without_an_image(folder):
    (folder / "train_test_split.txt").write_text("".join(f"{i} 1\n" for i in range(1, 7)))
    with pytest.raises(ValueError, match="puts no image into 'test'"):
        cub_200_2011(folder, "test")


@pytest.mark.skipif(not REAL.is_dir(), reason="the photographs are not beside the repository")
@pytest.mark.parametrize("split, count", [("train", 300), ("test", 243)])
def test_the_real_photographs(split, count):
    samples = cub_200_2011(REAL, split)
    assert (len(samples), samples.num_classes) == (count, 10)
    for index in range(0, count, 50):
        image = samples.read(index)
        left, top, right, bottom = samples.boxes[index]
        assert 0 <= left < right <= image.width + 1 and 0 <= top < bottom <= image.height + 1
        for box in samples.parts[index].values():
            assert 0 <= box[0] <= image.width and 0 <= box[1] <= image.height
        cropped = samples.crop_to_boxes().read(index)
        assert cropped.width <= right - left + 2 and cropped.height <= bottom - top + 2


# === NABirds ===


def test_a_tree_of_classes(folder):
    # Inner nodes have no photograph; one repeats the name of a leaf, and two leaves have one name.
    lines = [
        "0 Birds",
        "1 Albatrosses",
        "2 Laysan Albatross",
        "3 Laysan Albatross",
        "4 Sooty (Adult)",
    ]
    lines += ["900 Sooty (Adult)", "901 Ducks"]
    (folder / "classes.txt").write_text("\n".join(lines) + "\n")
    (folder / "hierarchy.txt").write_text("2 1\n3 1\n4 1\n1 0\n")
    replace(folder / "image_class_labels.txt", "1 1\n2 1\n", "1 4\n2 4\n")
    train, test = cub_200_2011(folder, "train"), cub_200_2011(folder, "test")
    assert train.class_names == test.class_names
    assert train.class_names == ("Laysan Albatross (2)", "Laysan Albatross (3)", "Sooty (Adult)")
    assert train.labels.tolist() == [2, 0, 1, 1] and test.labels.tolist() == [2, 0]
