import keras
import numpy as np
import pytest

from cin_keras.data import drawn_cars
from cin_keras.data.cropping import crop
from cin_keras.layers import SelfChannelInteraction
from cin_keras.measuring.channel_features import channel_features, eta_of_pairs, share_of_phi
from tests import reference
from tests.models.networks import tiny_cin

FORMS = {"SCI": {}, "cosine": {"similarity": "cosine", "scale": 10.0}, "Pos": {"positive": True}}


def test_features_against_the_loops():
    model = tiny_cin(12, size=16)
    samples = drawn_cars("test", image_size=32).limit(5)
    layers = {name: SelfChannelInteraction(**own) for name, own in FORMS.items()}
    found = channel_features(model, samples, layers, image_size=16, batch_size=2)
    for i in range(5):
        image = crop(samples.read(i), 16, 16)
        features = keras.ops.convert_to_numpy(model.backbone(np.float32(image)[None]))[0]
        x = features.reshape(-1, features.shape[-1]).T
        expected = {"spatial mean": x.mean(axis=1), "standard deviation": x.std(axis=1)}
        for name, own in FORMS.items():
            weights = reference.interaction_weights(features, **own)
            expected[name] = reference.mix(weights, features).mean(axis=(0, 1))
        kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.interaction.phi.weights)
        z = reference.self_channel_interaction(features, kernel, bias)
        expected["Y"] = expected["SCI"]
        expected["φ"] = z.mean(axis=(0, 1)) - x.mean(axis=1)
        assert set(found) == set(expected)
        for name, values in expected.items():
            reference.assert_close(found[name][i], values)


def test_a_model_without_interaction_has_neither_phi_nor_y():
    model = tiny_cin(12, size=16, interaction=None, contrast=None, randomize=False)
    samples = drawn_cars("test", image_size=32).limit(3)
    found = channel_features(model, samples, {"SCI": SelfChannelInteraction()}, 16)
    assert set(found) == {"spatial mean", "standard deviation", "SCI"}


def test_what_is_the_same_for_every_image_does_not_vary():
    mean = np.random.default_rng(0).normal(size=(50, 4))
    phi = share_of_phi({"φ": np.tile([3.0, 0, 4, 0], (50, 1)), "spatial mean": mean})
    assert phi["varies"] == pytest.approx(0, abs=1e-12) and phi["mean_varies"] > 0.9
    lengths = [5 / sum(value**2 for value in row) ** 0.5 for row in mean]
    assert phi["relative_length"] == pytest.approx(np.median(lengths))


@pytest.mark.every_backend
def test_eta_of_pairs_of_one_and_of_two_classes():
    model = tiny_cin(12)
    labels = np.array([0, 0, 1, 1, 2, 2])
    y = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.contrast.psi.weights)

    def eta(a, b):
        return (np.concatenate([y[a], y[b]]) @ kernel + bias)[0]

    found = eta_of_pairs(model, y, labels, seed=0)
    same = [eta(a, a + 1 if a % 2 == 0 else a - 1) for a in range(6)]
    np.testing.assert_allclose(found["one class"], np.percentile(same, (25, 50, 75)), rtol=1e-5)
    others = [eta(a, b) for a in range(6) for b in range(6) if labels[a] != labels[b]]
    assert min(others) <= found["two classes"][0] <= found["two classes"][2] <= max(others)
    # An image without a second of its class is in no pair of one class.
    assert eta_of_pairs(model, y[:3], labels[:3], seed=0)["one class"] == pytest.approx(
        np.percentile(same[:2], (25, 50, 75)), rel=1e-5
    )
