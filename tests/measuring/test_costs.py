import keras
import numpy as np
import pytest
from PIL import Image

from cin_keras.measuring import costs
from tests.models.networks import normalized_backbone, tiny_cin


def test_what_one_image_takes_is_a_median():
    summary = costs.per_image([0.2, 0.4, 0.9], [0.2, 0.2, 0.3], images=4)
    assert summary["milliseconds_per_image"] == pytest.approx(100)
    assert summary["quartiles"] == pytest.approx([75, 162.5])
    assert summary["images_per_second"] == pytest.approx(10)
    assert summary["ratio"] == pytest.approx(2)
    assert summary["ratio_quartiles"] == pytest.approx([1.5, 2.5])
    assert summary["rounds"] == 3


@pytest.mark.every_backend
def test_a_woken_model_has_something_to_say():
    model = tiny_cin(backbone=normalized_backbone(), randomize=False)
    assert costs.wake(model, seed=0) is model
    for layer in (model.interaction.phi, model.contrast.psi):
        assert all(np.abs(keras.ops.convert_to_numpy(w)).max() > 0 for w in layer.weights)
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    labels = np.array([0, 1])
    model.train_on_batch((images, images[::-1]), (labels, labels[::-1]))
    norm = model.backbone.get_layer("norm")
    before = model.backbone.get_layer("first")
    maps = keras.Model(model.backbone.input, before.output)(np.concatenate([images, images[::-1]]))
    mean = keras.ops.convert_to_numpy(maps).mean(axis=(0, 1, 2))
    found = keras.ops.convert_to_numpy(norm.moving_mean)
    # The step has moved the weights a little since.
    np.testing.assert_allclose(found, mean, rtol=0.2, atol=0.02)


@pytest.mark.every_backend
def test_parameters_and_time_of_inference():
    models = {
        "plain": tiny_cin(interaction=None, contrast=None, randomize=False),
        "CIN": tiny_cin(),
    }
    found = costs.inference_costs(models, np.zeros((2, 8, 8, 3)), rounds=2)
    assert found["plain"]["parameters"] == (3 * 4 + 4) + (4 * 3 + 3)
    # ψ and the embedding are not part of what is served.
    assert found["CIN"]["parameters"] == found["plain"]["parameters"] + 9 * 4**2 + 4
    assert all(row["milliseconds"] > 0 for row in found.values())


def test_table_and_figure(tmp_path):
    task = costs.per_image([0.1, 0.2], [0.1, 0.1], images=1)
    models = {
        name: {"inference": task, "training": task, "parameters": 61.7e6, "exported_megabytes": 249}
        for name in ("backbone", "CIN")
    }
    lines = costs.cost_table(models).splitlines()
    row = "| CIN | 150 (125–175) | 6.67 | 1.500 | 150 (125–175) | 6.67 | 1.500 | 61.7 M | 249 MB |"
    assert len(lines) == 4 and lines[3] == row
    sizes = []
    for memory in ({}, {name: {1: 10.0, 2: None} for name in models}):
        path = costs.cost_figure(models, memory, "title", tmp_path / "costs.png")
        sizes.append(Image.open(path).size)
    assert sizes[1][0] > 1.3 * sizes[0][0] > 300, "a panel more"
