import keras
import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.measuring import costs
from tests.models.networks import normalized_backbone, tiny_backbone, tiny_cin, uncompiled


def test_what_one_image_takes_is_a_median():
    summary = costs.per_image([0.2, 0.4, 0.9], [0.2, 0.2, 0.3], images=4)
    assert summary["milliseconds_per_image"] == pytest.approx(100)
    assert summary["quartiles"] == pytest.approx([75, 162.5])
    assert summary["images_per_second"] == pytest.approx(10)
    assert summary["ratio"] == pytest.approx(2)
    assert summary["ratio_quartiles"] == pytest.approx([1.5, 2.5])
    assert summary["rounds"] == 3


@pytest.mark.every_backend(on_jax=False)
def test_a_woken_model_has_something_to_say():
    model = tiny_cin(backbone=normalized_backbone(), randomize=False)
    assert costs.wake(model, seed=0) is model
    for layer in (model.interaction.phi, model.contrast.psi):
        assert all(np.abs(keras.ops.convert_to_numpy(w)).max() > 0 for w in layer.weights)
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    labels = np.array([0, 1])
    uncompiled(model).train_on_batch((images, images[::-1]), (labels, labels[::-1]))
    norm = model.backbone.get_layer("norm")
    before = model.backbone.get_layer("first")
    maps = keras.Model(model.backbone.input, before.output)(np.concatenate([images, images[::-1]]))
    mean = keras.ops.convert_to_numpy(maps).mean(axis=(0, 1, 2))
    found = keras.ops.convert_to_numpy(norm.moving_mean)
    # The step has moved the weights a little since.
    np.testing.assert_allclose(found, mean, rtol=0.2, atol=0.02)


def test_a_model_that_is_timed_says_something_and_stays_as_it_is():
    how = {"backbone": tiny_backbone(), "interaction": "sci", "contrast": "cci"}
    model = costs.build_awake(3, 8, seed=2, jit_compile=False, **how)
    uncompiled(model)
    kernels = [model.interaction.phi.kernel, model.classifier.kernel]
    before = [keras.ops.convert_to_numpy(kernel) for kernel in kernels]
    assert np.abs(before[0]).max() > 0
    assert costs.peak_of_training(model, costs.random_batches(8, 2, 2, 3, seed=0)) > 10
    assert int(model.optimizer.iterations) == 2
    for kernel, value in zip(kernels, before):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), value, atol=1e-5)
    again = costs.build_awake(3, 8, seed=2, **{**how, "backbone": tiny_backbone()})
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again.classifier.kernel), before[1])


@pytest.mark.every_backend
def test_parameters_and_time_of_inference():
    models = {
        "plain": tiny_cin(interaction=None, contrast=None, randomize=False),
        "CIN": tiny_cin(),
    }
    found = costs.inference_costs(models, 8, rounds=2)
    assert found["plain"]["parameters"] == (3 * 4 + 4) + (4 * 3 + 3)
    # ψ and the embedding are not part of what is served.
    assert found["CIN"]["parameters"] == found["plain"]["parameters"] + 9 * 4**2 + 4
    assert all(row["milliseconds"] > 0 for row in found.values())


def test_inference_is_what_predict_runs(monkeypatch):
    model, images = tiny_cin(), np.zeros((2, 8, 8, 3), "float32")
    asked = []
    monkeypatch.setattr(model, "prediction_network", lambda: asked.append(model) or model)
    found = costs.inference([model], images)(model)
    assert asked == [model]
    np.testing.assert_array_equal(found, model.predict_on_batch(images))


def test_a_batch_in_pairs_and_one_by_one_is_the_same_batch():
    batches = costs.random_batches(8, inference=3, pairs=4, classes=5, seed=1)
    (images_a, images_b), (labels_a, labels_b) = batches["paired"]
    images, labels = (np.array(x) for x in batches["single"])
    np.testing.assert_array_equal(images[::2], images_a)
    np.testing.assert_array_equal(images[1::2], images_b)
    assert labels.tolist() == [
        x for pair in zip(*map(np.array, (labels_a, labels_b))) for x in pair
    ]
    assert (labels[::4] == labels[1::4]).all(), "every second pair is of one class"
    assert batches["inference"].shape == (3, 8, 8, 3) and 0 <= labels.min() <= labels.max() < 5
    assert 0 <= images.min() < 5 and 250 < images.max() <= 255


def test_models_are_compared_by_turns(monkeypatch, untraced):
    plain = {"interaction": None, "contrast": None}
    models = {
        "backbone": tiny_cin(randomize=False, **plain),
        "long": tiny_cin(pooled=False),
        "pooled": tiny_cin(),
        "other": costs.wake(tiny_cin(randomize=False), seed=3),
    }
    weights = models["long"].get_weights()
    models["pooled"].set_weights(weights)
    for model in models.values():
        model.compile(keras.optimizers.SGD(1e-7), loss=cin_keras.losses.SoftmaxCrossentropy())
    batches = costs.random_batches(8, inference=3, pairs=2, classes=3, seed=1)
    monkeypatch.setattr(
        costs, "seconds", lambda run, model, times: 12.0 if run(model) is not None else 0
    )
    found = costs.compare_models(
        models, batches, rounds=2, steps=1, baseline="backbone", reference="long"
    )
    assert list(found) == list(models)
    assert found["backbone"]["difference_from_the_long_form"] is None
    assert found["long"]["difference_from_the_long_form"] == {"outputs": 0, "loss": 0}
    assert max(found["pooled"]["difference_from_the_long_form"].values()) < 1e-4
    assert min(found["other"]["difference_from_the_long_form"].values()) > 1e-4
    assert found["backbone"]["training"]["ratio"] == found["backbone"]["inference"]["ratio"] == 1
    for result in found.values():
        assert result["inference"]["milliseconds_per_image"] == 4000, "of 3 images"
        assert result["training"]["milliseconds_per_image"] == 3000, "of 4 images"
        assert result["inference"]["rounds"] == 2
    assert found["pooled"]["parameters_in_training"] > found["pooled"]["parameters"]


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
