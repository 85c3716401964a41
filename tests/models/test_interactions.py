"""Every row of the comparison keeps what CIN can do."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import cin_keras
from cin_keras.models.interactions import INTERACTIONS, SELF_CHANNEL
from cin_keras.serving.folding import folded_inference
from tests import processes, reference
from tests.models.networks import (
    awake,
    normalized_backbone,
    pair_batch,
    shorten_mobilenet,
    tiny_backbone,
    uncompiled,
)
from tests.one_program import called

ROWS = [
    *({"interaction": name, "contrast": "embedding"} for name in INTERACTIONS),
    *({"interaction": name, "contrast": "cci"} for name in SELF_CHANNEL),
    {"interaction": "sci", "contrast": "cci", "similarity": "correlation", "learnable_scale": True},
    {"interaction": "bilinear", "contrast": None, "projection_dim": 3},
    {"interaction": "phi", "contrast": "embedding", "descriptor": "flatten"},
    {"interaction": "phi", "contrast": "embedding", "pooled": False},
    {"interaction": "osme", "contrast": "mamc", "alpha": 0.5},
    {"interaction": "sci", "contrast": "cci", "partner": "hardest", "own_phi": True},
]
# JAX, which compiles every step for long, sees the layers of all rows in tests of their own. So do the
# graphs of TensorFlow, by Keras' own test of layers, but for these.
TRACED = ("mean_and_deviation", "squeeze_excite")
ROWS = [pytest.param(row, marks=pytest.mark.every_backend) for row in ROWS[-1:] + ROWS[:-1]]
# Without contrast, a test of its own trains them on every backend.
ROWS += [{"interaction": name, "contrast": None} for name in (None, "sci")]


def make(backbone=None, size=8, **kwargs):
    """A CIN whose weights are mostly above zero, so that every part has a say."""
    model = cin_keras.CIN(
        3,
        backbone=backbone or tiny_backbone(size=size),
        input_shape=(size, size, 3),
        **{"embedding_dim": 5, **kwargs},
    )
    return awake(model)


def described(row):
    return "-".join(str(value) for value in row.values())


@pytest.mark.parametrize("row", ROWS, ids=described)
def test_a_row_trains_on_pairs_and_is_saved_whole(tmp_path, row):
    images, labels = pair_batch()
    model = make(**row)
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    if row["interaction"] not in TRACED and row["contrast"] != "mamc" and "partner" not in row:
        uncompiled(model)
    logs = model.train_on_batch(images, labels, return_dict=True)
    uncompiled(model)
    assert ("contrastive_loss" in logs) == (row["contrast"] is not None)
    for weight, value in zip(model.trainable_weights, before, strict=True):
        moved = np.abs(ops.convert_to_numpy(weight) - value).max()
        # What is added to every position is nothing to a covariance.
        blind = row["interaction"] == "covariance" and weight.path == "conv/bias"
        assert (moved >= 0 if blind else moved > 0) and moved < np.inf, weight.path
    assert set(model.evaluate(images[0], labels[0], verbose=0, return_dict=True)) == {
        "loss",
        "accuracy",
    }
    expected = model.predict_on_batch(images[0])
    paired = ops.convert_to_numpy(called(model, images, training=False)["outputs"])
    reference.assert_close(paired[::2], expected, relative=1e-4, absolute=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = uncompiled(keras.saving.load_model(tmp_path / "model.keras"))
    found = loaded.predict_on_batch(images[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    same, config = loaded.get_config(), model.get_config()
    same.pop("backbone"), config.pop("backbone")
    assert same == config
    loaded.train_on_batch(images, labels)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "initializer", ["glorot_uniform", keras.initializers.RandomNormal(stddev=0.3, seed=3)]
)
def test_phi_starts_as_its_initializer_says(tmp_path, initializer):
    backbone = tiny_backbone()
    keras.utils.set_random_seed(1)
    model = cin_keras.CIN(
        3, backbone, input_shape=(8, 8, 3), phi_initializer=initializer, dropout=0.1
    )
    keras.utils.set_random_seed(1)  # whose first number is for φ, as in all runs that were made
    expected = keras.initializers.get(initializer)((3, 3, 4, 4))
    kernel = ops.convert_to_numpy(model.interaction.phi.kernel)
    np.testing.assert_allclose(kernel, ops.convert_to_numpy(expected), rtol=1e-6)
    assert 0.1 < np.abs(kernel).max()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config()["phi_initializer"] == model.get_config()["phi_initializer"]
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded.interaction.phi.kernel), kernel)


@pytest.mark.parametrize(
    ("interaction", "contrast", "size"), [("sci", "cci", 1), ("phi", None, [1, 3])]
)
def test_the_kernel_of_phi_is_as_large_as_asked(tmp_path, interaction, contrast, size):
    arguments = {"interaction": interaction, "contrast": contrast, "phi_kernel_size": size}
    model = uncompiled(make(**arguments))
    assert model.interaction.phi.kernel.shape == (1, 1 if size == 1 else 3, 4, 4)
    images, labels = pair_batch()
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"]).all()
    folded = folded_inference(model).predict(images[0], verbose=0)
    np.testing.assert_allclose(folded, model.predict(images[0], verbose=0), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.interaction.phi.kernel.shape == model.interaction.phi.kernel.shape


@pytest.mark.every_backend
@pytest.mark.parametrize("interaction", [None, "squeeze_excite", "non_local", "bilinear", "cgnl"])
def test_only_phi_has_a_rate_of_its_own(interaction):
    model = make(interaction=interaction, contrast=None)
    model.optimizer.build(model.trainable_variables)
    assert set(model.optimizer.factors) == {1.0}


def two_mobilenets(patch):
    shorten_mobilenet(patch, 3)
    return cin_keras.CIN(
        3,
        "mobilenet",
        None,
        (32, 32, 3),
        interaction="bilinear",
        contrast=None,
        projection_dim=4,
        second_backbone="mobilenet",
    )


@pytest.mark.parametrize("part", [slice(20), slice(None)], ids=["in part", "whole"])
def test_a_frozen_second_backbone_stays_so(tmp_path, part, monkeypatch):
    model = two_mobilenets(monkeypatch)
    for layer in model.second_backbone.layers[part]:
        layer.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    left = len(model.second_backbone.trainable_weights)
    assert len(loaded.second_backbone.trainable_weights) == left and bool(left) == (part.stop == 20)


@pytest.mark.every_backend
@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_without_contrast_single_images_train_as_pairs_do(interaction):
    images, labels = pair_batch()
    single = tuple(
        np.stack(part, axis=1).reshape(8, *part[0].shape[1:]) for part in (images, labels)
    )
    results = []
    for batch in ((images, labels), single):
        model = make(interaction=interaction, contrast=None)
        model.set_weights([np.cos(np.arange(w.size)).reshape(w.shape) for w in model.get_weights()])
        model.compile(keras.optimizers.SGD(0.1), loss=model.loss)
        loss = (
            uncompiled(model).fit(*batch, batch_size=8, shuffle=False, verbose=0).history["loss"][0]
        )
        results.append((loss, model.get_weights()))
    (loss_a, weights_a), (loss_b, weights_b) = results
    assert loss_a == pytest.approx(loss_b, rel=1e-5)
    for a, b in zip(weights_a, weights_b, strict=True):
        reference.assert_close(a, b)


@pytest.mark.every_backend
def test_the_contrast_of_embeddings_compares_z_itself():
    images, labels = pair_batch()
    model = make(interaction="sci", contrast="embedding", scale=0.5)
    phi = [
        ops.convert_to_numpy(w) for w in (model.interaction.phi.kernel, model.interaction.phi.bias)
    ]
    kernel = ops.convert_to_numpy(model.embedding.kernel)
    features = [ops.convert_to_numpy(model.backbone(x)).astype("float64") for x in images]
    embeddings = []
    for pair in zip(*features, strict=True):
        z = [reference.self_channel_interaction(x, *phi, 0.5).mean(axis=(0, 1)) for x in pair]
        embeddings.append([v @ kernel / np.linalg.norm(v @ kernel) for v in z])
    found = ops.convert_to_numpy(called(model, images, training=False)["embeddings"])
    reference.assert_close(found, np.array(embeddings))
    expected = reference.pair_losses(embeddings, labels[0] == labels[1], model.margin).mean()
    history = uncompiled(model).fit(images, labels, batch_size=4, verbose=0).history
    assert history["contrastive_loss"][0] == pytest.approx(expected, rel=1e-4)
    total = history["classification_loss"][0] + model.alpha * expected
    assert history["loss"][0] == pytest.approx(total, rel=1e-4)


@pytest.mark.every_backend
def test_mamc_compares_the_attentions_of_all_images():
    images, labels = pair_batch()
    weights = (np.array([1.0, 2.0, 0.0, 3.0]), np.array([3.0, 0.0, 1.0, 1.0]))
    model = make(interaction="osme", contrast="mamc", alpha=0.5)
    outputs = called(model, images, training=False)
    attended = ops.convert_to_numpy(outputs["embeddings"]).astype("float64")
    assert attended.shape == (8, 2, 1024)
    kernel, bias = model.classifier.get_weights()
    logits = ops.convert_to_numpy(outputs["outputs"])
    reference.assert_close(logits, attended.sum(axis=1) @ kernel + bias)
    costs = reference.multi_attention_multi_class(np.stack(labels, axis=1).reshape(-1), attended)
    expected = (costs * np.stack(weights, axis=1).reshape(-1)).mean()
    history = (
        uncompiled(model)
        .fit(images, labels, sample_weight=weights, batch_size=4, verbose=0)
        .history
    )
    assert history["contrastive_loss"][0] == pytest.approx(expected, rel=1e-4)
    total = history["classification_loss"][0] + 0.5 * expected
    assert history["loss"][0] == pytest.approx(total, rel=1e-4)
    with pytest.raises(ValueError, match="fit.. of this model takes a pair dataset"):
        model.fit(images[0], labels[0], verbose=0)


@pytest.mark.every_backend(on_jax=False)
def test_bilinear_pooling_takes_two_backbones(tmp_path):
    images, labels = pair_batch()
    first = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 2, 2)],
        name="first",
    )
    second = normalized_backbone()
    model = make(first, interaction="bilinear", contrast=None, second_backbone=second)
    uncompiled(model)
    maps = [ops.convert_to_numpy(b(images[0], training=False)) for b in (first, second)]
    pooled = np.stack([reference.bilinear_pooling(*pair) for pair in zip(*maps, strict=True)])
    kernel, bias = model.classifier.get_weights()
    reference.assert_close(model.predict(images[0], verbose=0), pooled @ kernel + bias)
    model.fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.second_backbone.name == "normalized"
    np.testing.assert_allclose(
        loaded.predict(images[0], verbose=0), model.predict(images[0], verbose=0), rtol=1e-5
    )


def test_two_backbones_of_one_name(tmp_path, monkeypatch):
    images, labels = pair_batch(size=32)
    model = uncompiled(two_mobilenets(monkeypatch))
    model.fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = uncompiled(keras.saving.load_model(tmp_path / "model.keras"))
    np.testing.assert_allclose(
        loaded.predict(images[0], verbose=0), model.predict(images[0], verbose=0), rtol=1e-5
    )
    with pytest.raises(ValueError, match="a file for the first backbone"):
        cin_keras.CIN(
            3,
            tiny_backbone(),
            "some.weights.h5",
            (8, 8, 3),
            interaction="bilinear",
            contrast=None,
            second_backbone="mobilenet",
        )


SERVE = """
import json, sys
sys.modules["keras"] = sys.modules["cin_keras"] = None
import numpy as np, tensorflow as tf
images = np.load(sys.argv[1])
served = [tf.saved_model.load(folder) for folder in sys.argv[2:]]
print(json.dumps([model.serve_uint8(images).numpy().tolist() for model in served]))
"""


def test_interactions_are_served_by_tensorflow_alone(tmp_path, png_decoder):
    images, _ = pair_batch()
    np.save(tmp_path / "images.npy", images[0])
    expected, folders = [], []
    # SCI is in tests/serving/test_export.py, also on JAX, on which the way there is the same; the rest
    # have operations that others have, too.
    for interaction in ("covariance", "bilinear", "osme"):
        model = make(interaction=interaction, contrast=None)
        folders.append(tmp_path / f"served_{interaction}")
        model.export(folders[-1], verbose=False)
        expected.append(model.predict(images[0], verbose=0))
    done = processes.run("-c", SERVE, tmp_path / "images.npy", *folders)
    assert done.returncode == 0, done.stderr[-2000:]
    for outputs, of_model in zip(json.loads(done.stdout), expected, strict=True):
        reference.assert_close(outputs, of_model)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "interaction", [None, "squeeze_excite", "non_local", "phi", "bilinear", "cgnl", "osme"]
)
def test_half_precision(interaction):
    images, labels = pair_batch()
    model = uncompiled(make(interaction=interaction, contrast="embedding", dtype="mixed_bfloat16"))
    assert np.isfinite(model.fit(images, labels, batch_size=4, verbose=0).history["loss"][0])
    assert model.predict(images[0], verbose=0).dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interaction": "se"}, "interaction='se'"),
        ({"contrast": "triplet"}, "contrast='triplet'"),
        ({"interaction": "phi"}, r"contrast='cci'.*interaction='phi'"),
        ({"contrast": "mamc"}, r"contrast='mamc'.*interaction='sci'"),
        ({"block_rows": 4, "interaction": "phi", "contrast": None}, "block_rows=4"),
        ({"projection_dim": 4}, "projection_dim=4"),
        ({"phi_kernel_size": 0}, "phi_kernel_size=0"),
        ({"phi_kernel_size": 1, "interaction": None, "contrast": None}, "phi_kernel_size=1"),
        ({"pooled": False, "interaction": "cgnl", "contrast": None}, "pooled=False"),
        (
            {"phi_initializer": "ones", "interaction": None, "contrast": None},
            "phi_initializer='ones'",
        ),
        ({"second_backbone": "mobilenet"}, "second_backbone='mobilenet'"),
        ({"similarity": "euclid"}, "similarity='euclid'"),
        ({"learnable_scale": "no"}, "learnable_scale='no'"),
        ({"similarity": "cosine", "interaction": "phi", "contrast": None}, "similarity='cosine'"),
        (
            {
                "interaction": "bilinear",
                "contrast": None,
                "second_backbone": tiny_backbone(),
            },
            "different names.*'tiny' twice",
        ),
        ({"projection_dim": 0, "interaction": "bilinear", "contrast": None}, "projection_dim=0"),
    ],
)
def test_choices_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        cin_keras.CIN(3, tiny_backbone(), input_shape=(8, 8, 3), **arguments)
