"""What an image is compared with, beside the other of its pair: chosen, and in the loss."""

import keras
import numpy as np
import pytest
from keras import ops

import cin_keras
from cin_keras.models.pair_batch import choose_pairs
from tests import reference
from tests.models.networks import pair_batch, tiny_cin, uncompiled

pytestmark = pytest.mark.every_backend


def hardest(features, labels):
    """The loops: `(first, second)` of every pair of images `2 k` and `2 k + 1`."""
    pairs = []
    for first in range(0, len(labels), 2):
        best, second = -2.0, first + 1
        if labels[first] != labels[first + 1]:
            for other in range(len(labels)):
                a, b = features[first], features[other]
                cosine = a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)
                if labels[other] != labels[first] and cosine > best:
                    best, second = cosine, other
        pairs.append([first, second])
    return pairs


def test_the_hardest_is_that_of_the_loop():
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(12, 5)).astype("float32"), rng.integers(0, 3, 12)
    labels[:2] = 0
    expected = hardest(features, labels)
    found = ops.convert_to_numpy(choose_pairs("hardest", features, ops.convert_to_tensor(labels)))
    assert found.tolist() == expected
    assert expected[0] == [0, 1] and any(b != a + 1 for a, b in expected)
    unknown = ops.convert_to_numpy(choose_pairs("hardest", features))
    assert unknown.tolist() == [[a, a + 1] for a in range(0, 12, 2)]


@pytest.mark.parametrize("images", [2, 4, 10])
def test_all_are_all_and_each_once(images):
    found = ops.convert_to_numpy(choose_pairs("all", np.zeros((images, 1), "float32")))
    expected = [{a, b} for a in range(images) for b in range(a)]
    assert len(found) == len(expected) and all({*map(int, pair)} in expected for pair in found)
    assert len({frozenset(pair) for pair in found.tolist()}) == len(expected)


@pytest.mark.parametrize("partner", ["hardest", "all"])
@pytest.mark.parametrize("options", [{}, {"normalize_rows": True, "own_phi": True}, None])
def test_the_loss_is_that_of_the_loops(partner, options):
    """With CCI, its options or (`None`) without it, on the embeddings of `Z`."""
    images, labels = pair_batch(size=4)
    keras.utils.set_random_seed(2)
    how = {"contrast": "embedding", "randomize": False} if options is None else options
    model = tiny_cin(size=4, partner=partner, scale=0.5, **how)
    rng = np.random.default_rng(8)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.2 * rng.normal(size=weight.shape))
    model.compile(keras.optimizers.SGD(0.0), loss=model.loss)
    if partner == "hardest" or options is not None:
        uncompiled(model)
    both = np.stack(images, axis=1).reshape(8, 4, 4, 3)
    numbers = np.stack(labels, axis=1).reshape(8)
    weights = np.arange(1.0, 9.0)
    maps = ops.convert_to_numpy(model.backbone(both)).astype("float64")
    if partner == "all":
        pairs = [(a, b) for a in range(8) for b in range(a)]
    else:
        pairs = hardest(maps.mean(axis=(1, 2)), numbers)

    def array(variable):
        return ops.convert_to_numpy(variable).astype("float64")

    phi = model.interaction.phi
    kernel = array(model.embedding.kernel)
    embeddings = []
    for a, b in pairs:
        if options is None:
            z = [
                reference.self_channel_interaction(maps[i], array(phi.kernel), array(phi.bias), 0.5)
                for i in (a, b)
            ]
        else:
            own = model.contrast.contrastive_phi.phi if options else phi
            psi = model.contrast.psi
            z = reference.contrastive_channel_interaction(
                maps[a],
                maps[b],
                *map(array, (own.kernel, own.bias, psi.kernel, psi.bias)),
                scale=0.5,
                normalize=bool(options),
            )
        embedded = [x.mean(axis=(0, 1)) @ kernel for x in z]
        embeddings.append([e / np.sqrt(e @ e) for e in embedded])
    same = np.array([numbers[a] == numbers[b] for a, b in pairs])
    losses = reference.pair_losses(np.array(embeddings), same, model.margin)
    per_pair = np.array([(weights[a] + weights[b]) / 2 for a, b in pairs])
    given = (weights[::2], weights[1::2])
    history = model.fit(images, labels, sample_weight=given, batch_size=4, verbose=0).history
    expected = (per_pair * losses).mean()
    assert expected > 1e-3
    assert history["contrastive_loss"][0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.every_backend(on_jax=False)
def test_a_model_keeps_its_options(tmp_path):
    options = {"partner": "hardest", "normalize_rows": True, "own_phi": True}
    model = tiny_cin(**options)
    images, labels = pair_batch()
    uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = cin_keras.load_model(tmp_path / "model.keras")
    assert {name: getattr(copy, name) for name in options} == options
    assert copy.contrast.own_phi and copy.contrast.normalize_rows
    for a, b in zip(copy.weights, model.weights, strict=True):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (a, b)))
    names = {weight.path for weight in model.inference_layers[-1].weights}
    assert not any("contrastive_phi" in name for name in names)


@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partner": "nearest"}, "partner.*'nearest'"),
        ({"partner": "all", "contrast": None}, "contrast=None with partner='all'"),
        ({"descriptor": "flatten", "contrast": None}, "contrast=None with descriptor='flatten'"),
        ({"interaction": "phi", "contrast": None, "scale": 0.1}, "interaction='phi' with scale=0.1"),
        ({"own_phi": True, "contrast": "embedding"}, "contrast='embedding' with own_phi=True"),
        ({"phi_gradient": False, "contrast": None}, "contrast=None with phi_gradient=False"),
        ({"normalize_rows": 2}, "normalize_rows"),
        ({"own_phi": True, "phi_gradient": False}, "own_phi=True with phi_gradient=False"),
    ],
)
def test_options_that_nothing_would_use_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tiny_cin(randomize=False, **options)


def test_several_devices_see_parts_of_a_batch_alone():
    with cin_keras.distribution.distribute():
        with pytest.raises(ValueError, match="`partner` must be 'given' inside distribute"):
            tiny_cin(partner="all", randomize=False)
