import dataclasses

import keras
import numpy as np
import pytest

from cin_keras.data import drawn_cars, image_dataset
from cin_keras.measuring.frozen_part import FeaturePairs, FrozenPart, cut
from cin_keras.models.small_backbone import small_backbone
from tests.models.networks import normalized_backbone


@pytest.fixture
def cars():
    return drawn_cars(num_classes=3, images_per_class=4, image_size=32)


def test_the_parts_make_what_the_network_makes(cars, tmp_path):
    network = normalized_backbone(size=8)
    part = FrozenPart(network, "norm", cars, 8, 2, tmp_path, 3)
    rest = part.rest()
    expected = network.predict(image_dataset(cars, 8), verbose=0)
    np.testing.assert_allclose(rest.predict(part.images(cars), verbose=0), expected, atol=1e-2)
    rest.set_weights([0 * weight for weight in rest.get_weights()])
    assert abs(part.rest().get_weights()[0]).max() > 0, "each row starts from the network"
    assert expected.std() > 1e-2


@pytest.mark.filterwarnings("ignore:Even though:UserWarning")
def test_a_row_is_trained_on_maps(cars, tmp_path, untraced):
    part = FrozenPart(small_backbone(32), "block_2", cars, 32, 2, tmp_path, 3)
    model = part.model("SCI", cars.num_classes)
    assert model.interaction_name == "sci" and model.contrast_name is None
    scores = model.predict(part.images(cars), verbose=0)
    assert scores.shape == (len(cars), cars.num_classes)
    model.fit(part.pairs(cars, seed=4), verbose=0)


def test_a_layer_that_the_network_has_another_way_around_is_refused():
    images = keras.Input((8, 8, 3))
    inside = keras.layers.ReLU(name="inside")(images)
    with pytest.raises(ValueError, match="'inside' is a layer inside a block .* last of the block"):
        cut(keras.Model(images, keras.layers.Add()([images, inside])), "inside")


def test_maps_are_of_crops_and_computed_once(cars, tmp_path, monkeypatch):
    network, other = normalized_backbone(size=8), normalized_backbone(size=8)
    part = FrozenPart(network, "relu", cars, 8, 3, tmp_path, 3)
    half = cars.subset([7, 2, 5, 0, 10, 9])
    pairs = part.pairs(half, seed=4)
    (a, b), (labels_a, labels_b) = pairs[0]
    assert a.shape == (3, -(-8 * 8 * 4 // 3), 1, 3) and a.dtype == "float32"
    assert {*labels_a, *labels_b} <= {*half.labels}
    monkeypatch.setattr(keras.Model, "predict", None)
    again = FrozenPart(network, "relu", cars, 8, 3, tmp_path, 3)
    for x, y in zip((a, b), again.pairs(half, seed=4)[0][0], strict=True):
        np.testing.assert_array_equal(x, y)
    other.set_weights([weight + 1 for weight in network.get_weights()])
    with pytest.raises(TypeError, match="not callable"):  # which computes anew
        FrozenPart(other, "relu", cars, 8, 3, tmp_path, 3).pairs(half)
    larger = drawn_cars(num_classes=3, images_per_class=4, image_size=40)
    with pytest.raises(TypeError, match="not callable"):
        FrozenPart(network, "relu", larger, 8, 3, tmp_path, 3).pairs(half)


def test_of_two_boxes_in_one_photograph_each_has_its_own_map(cars, tmp_path):
    twice = dataclasses.replace(cars, paths=cars.paths[:1] * 12, crops=[(i, 0, 32, 32) for i in range(12)])
    part = FrozenPart(normalized_backbone(size=8), "relu", twice, 8, 1, tmp_path, 2)
    np.testing.assert_array_equal(part.pairs(twice.subset(range(11, -1, -1))).rows, range(11, -1, -1))
    assert len(list(tmp_path.iterdir())) == 1
    part.images(dataclasses.replace(twice, crops=None))
    part.images(twice)
    assert len(list(tmp_path.iterdir())) == 3


def test_each_image_is_seen_once_an_epoch_in_some_crop():
    maps = np.arange(3 * 8).reshape(3, 8, 1, 1, 1) * np.ones((1, 1, 1, 1, 3), "float16")
    pairs = FeaturePairs(maps, [0, 0, 0, 0, 1, 1, 1, 1], pairs_per_batch=4, seed=2)
    crops = []
    for _ in range(2):
        seen = np.concatenate([part[:, 0, 0, 0] for part in pairs[0][0]])
        assert sorted(seen % 8) == list(range(8)) and len(set(seen // 8)) > 1
        crops.append(sorted(seen))
        pairs.on_epoch_end()
    assert crops[0] != crops[1]
    (a, _), (labels_a, _) = pairs[0]
    assert [value % 8 // 4 for value in a[:, 0, 0, 0]] == list(labels_a)
