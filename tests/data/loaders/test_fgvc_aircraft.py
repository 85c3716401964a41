import numpy as np
import pytest
from PIL import Image

from cin_keras.data import fgvc_aircraft, image_dataset, pair_dataset
from tests.data.small_sets import AIRCRAFT, FAMILIES, MANUFACTURERS, encode, write_fgvc_aircraft


@pytest.fixture
def folder(tmp_path):
    return write_fgvc_aircraft(tmp_path / "fgvc-aircraft-2013b")


@pytest.mark.parametrize("split", ["train", "val", "trainval", "test"])
@pytest.mark.parametrize("level", ["variant", "family", "manufacturer"])
def test_splits_and_levels(folder, split, level):
    samples = fgvc_aircraft(folder, split, level)
    images = {}
    for part in ("train", "val") if split == "trainval" else (split,):
        images.update(AIRCRAFT[part])
    name_of = {"variant": {n: n for n in FAMILIES}, "family": FAMILIES}.get(level, MANUFACTURERS)
    assert [samples.class_names[k] for k in samples.labels] == [name_of[v] for v in images.values()]
    assert samples.paths == tuple(str(folder / "data/images" / f"{i}.jpg") for i in images)
    assert samples.num_classes == len(set(name_of.values()))
    np.testing.assert_array_equal(samples.boxes, [[2, 3, 20, 25]] * len(images))


@pytest.mark.parametrize("place", ["data", ".", ".."])
def test_the_folder_above_and_below(folder, place):
    assert len(fgvc_aircraft(folder / place, "val")) == 2


def test_every_reader_cuts_the_credit_strip_off(folder):
    samples = fgvc_aircraft(folder, "trainval", "manufacturer")
    image = samples.read(0)
    assert image.size == (30, 30)
    assert np.asarray(image).max() < 110
    for part in (samples.subset([1, 2]), samples.filter(["Boeing"]), samples.split(0.5)[0]):
        assert part.read(0).size == (30, 30)
    images = np.concatenate([images for images, _ in image_dataset(samples, 24, batch_size=2)])
    assert images.shape == (5, 24, 24, 3) and images.max() < 110
    for (a, b), _ in pair_dataset(samples, 24, pairs_per_batch=2):
        assert max(a.numpy().max(), b.numpy().max()) < 110


def test_crops_to_boxes_stay_out_of_the_strip(folder):
    (folder / "data" / "images_box.txt").write_text(
        "".join(f"{image} 11 21 20 50\n" for part in AIRCRAFT.values() for image in part)
    )
    image = fgvc_aircraft(folder).crop_to_boxes().read(0)
    assert image.size == (10, 10)
    assert np.asarray(image).max() < 110


def test_a_photograph_that_is_all_strip(folder):
    path = folder / "data" / "images" / "0000012.jpg"
    path.write_bytes(encode(Image.new("RGB", (30, 20)), "JPEG"))
    with pytest.raises(ValueError, match="0000012.jpg' .nothing is left of its 20 rows"):
        fgvc_aircraft(folder).read(1)


def test_without_boxes(folder):
    (folder / "data" / "images_box.txt").unlink()
    assert fgvc_aircraft(folder).boxes is None


def test_wrong_arguments(folder):
    with pytest.raises(ValueError, match="`split` must be .*'trainval' or 'test'.*'validation'"):
        fgvc_aircraft(folder, "validation")
    with pytest.raises(ValueError, match="`level` must be 'variant', .*Received: level='model'"):
        fgvc_aircraft(folder, level="model")
    with pytest.raises(FileNotFoundError, match="No folder for FGVC-Aircraft.*nowhere.*download"):
        fgvc_aircraft(folder / "nowhere")


@pytest.mark.parametrize("name", ["families.txt", "images_family_val.txt"])
def test_missing_files(folder, name):
    (folder / "data" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Missing file: .*{name}"):
        fgvc_aircraft(folder, "val", "family")


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("images_variant_train.txt", "0000007 A380\n", "gives image 0000007 the variant 'A380'"),
        ("images_variant_train.txt", "0000007\n", "Line 1 of .* must hold two entries"),
        ("images_variant_train.txt", "1 F/A-18\n1 F/A-18\n", "lists 1 more than once"),
        ("images_box.txt", "0000007 1 2 3 4\n", "no line for image 0000012, .*2 such images"),
        ("images_box.txt", "0000007 1 2 3\n0000012 1\n0000013 1\n", "4 numbers for 0000007"),
        ("variants.txt", "F/A-18\nF/A-18\n707-320\n737-700\n", "Class names must differ"),
    ],
)
def test_contradictions(folder, file, content, message):
    (folder / "data" / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        fgvc_aircraft(folder)


def test_missing_photographs(folder):
    (folder / "data" / "images" / "0000013.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 3 photographs .*: 0000013.jpg$"):
        fgvc_aircraft(folder)


def test_the_levels_above_are_the_hierarchy(folder):
    for split in ("train", "test"):
        samples = fgvc_aircraft(folder, split)
        assert list(samples.hierarchy) == ["manufacturer", "family"]
        for name, family, maker in zip(
            samples.class_names, samples.hierarchy["family"], samples.hierarchy["manufacturer"]
        ):
            assert (family, maker) == (FAMILIES[name], MANUFACTURERS[name])
    families = fgvc_aircraft(folder, "test", "family")
    assert list(families.hierarchy) == ["manufacturer"]
    assert fgvc_aircraft(folder, "test", "manufacturer").hierarchy is None
    for path in folder.glob("data/images_family_*"):
        path.unlink()
    assert list(fgvc_aircraft(folder, "test").hierarchy) == ["manufacturer"]
