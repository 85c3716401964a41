import numpy as np
import pytest

from cin_keras.data import drawn_cars, image_dataset, pair_dataset
from cin_keras.measuring.frozen_part import FrozenPart
from cin_keras.measuring.readers import Maps, Photographs, make_reader
from cin_keras.measuring.rows import build_row
from cin_keras.models.small_backbone import small_backbone

SAMPLES = drawn_cars("test", images_per_class=1, image_size=32)


def first_of(data):
    images, labels = next(iter(data))
    return [np.array(part) for part in (*images, *labels)]


def test_photographs_are_read_as_the_pipelines_read_them():
    reader = Photographs(lambda *which: which, image_size=32, pairs_per_batch=3)
    assert reader.model("plain", 5) == ("plain", 5)
    for found, expected in zip(
        first_of(reader.pairs(SAMPLES, seed=4)), first_of(pair_dataset(SAMPLES, 32, 3, seed=4))
    ):
        np.testing.assert_array_equal(found, expected)
    images, _ = next(iter(reader.images(SAMPLES)))
    np.testing.assert_array_equal(images, next(iter(image_dataset(SAMPLES, 32, 6)))[0])


@pytest.mark.filterwarnings("ignore:Even though:UserWarning")
def test_maps_are_what_the_rest_of_the_network_takes(tmp_path, untraced):
    reader = Maps(FrozenPart(small_backbone(32), "block_2", SAMPLES, 32, 2, tmp_path), 3)
    model = reader.model("SCI", SAMPLES.num_classes)
    assert model.interaction_name == "sci" and model.contrast_name is None
    scores = model.predict(reader.images(SAMPLES), verbose=0)
    assert scores.shape == (len(SAMPLES), SAMPLES.num_classes)
    model.fit(reader.pairs(SAMPLES, seed=4), verbose=0)


def test_crops_make_the_difference(tmp_path):
    def build(row, num_classes):
        return build_row(row, num_classes, backbone=small_backbone(32), input_shape=(32, 32, 3))

    assert isinstance(make_reader(build, SAMPLES, 32, 3), Photographs)
    folder = tmp_path / "maps" / "small"
    reader = make_reader(build, SAMPLES, 32, 3, crops=2, frozen_to="block_2", folder=folder)
    assert isinstance(reader, Maps) and folder.is_dir()
    assert reader.model("plain", 4).num_classes == 4
