import keras
import numpy as np
import pytest
from keras import ops

import cin_keras
from tests.models.networks import (
    normalized_backbone,
    pair_batch,
    shorten_mobilenet,
    tiny_backbone,
    tiny_cin,
    uncompiled,
)


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A backbone that is no graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(4, 3)

    def call(self, inputs):
        return self.conv(inputs / 255)


def predictions(model, images):
    return model.predict(images, verbose=0)


@pytest.mark.every_backend
def test_training_shows_its_logs_and_evaluation_only_its_own():
    images, labels = pair_batch(pairs=6)
    model = uncompiled(tiny_cin())
    history = model.fit(
        images,
        labels,
        batch_size=3,
        epochs=2,
        validation_data=(images[0], labels[0]),
        verbose=0,
    ).history
    assert set(history) == {
        "loss",
        "classification_loss",
        "contrastive_loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
    }
    results = model.evaluate(images[0], labels[0], verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
    assert results["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-4)
    hits = predictions(model, images[0]).argmax(axis=1) == labels[0]
    assert results["accuracy"] == pytest.approx(hits.mean())
    assert len(model.evaluate(images[0], labels[0], verbose=0)) == 2


@pytest.mark.every_backend
def test_training_learns():
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = np.zeros((32, 8, 8, 3), "float32")
    images[..., 0] = 200.0 * labels[:, None, None] + rng.uniform(0, 20, (32, 8, 8))
    keras.utils.set_random_seed(0)
    model = tiny_cin(2, randomize=False)
    partner = rng.permutation(32)
    model.fit(
        (images, images[partner]), (labels, labels[partner]), batch_size=8, epochs=20, verbose=0
    )
    results = uncompiled(model).evaluate(images, labels, verbose=0, return_dict=True)
    assert results["accuracy"] == 1.0


@pytest.mark.every_backend
def test_images_of_any_dtype():
    images, _ = pair_batch()
    model = tiny_cin()
    expected = predictions(model, images[0].astype("float32"))
    for dtype in ("uint8", "int32", "float64"):
        np.testing.assert_allclose(predictions(model, images[0].astype(dtype)), expected, rtol=1e-5)
    for dtype in ("uint8", "int32", "float32", "float64"):
        called = ops.convert_to_numpy(model(images[0].astype(dtype)))
        np.testing.assert_allclose(called, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.every_backend(on_jax=False)
def test_outputs_are_logits_or_probabilities():
    images, labels = pair_batch()
    logits = predictions(uncompiled(tiny_cin()), images[0])
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-3
    model = uncompiled(tiny_cin(classifier_activation="softmax"))
    np.testing.assert_allclose(predictions(model, images[0]).sum(axis=1), 1.0, rtol=1e-5)
    assert np.isfinite(model.fit(images, labels, batch_size=4, verbose=0).history["loss"][0])


@pytest.mark.every_backend(on_jax=False)  # which sees as much in a row of test_interactions
@pytest.mark.parametrize("backend_call", ["__call__", "call"])
def test_a_pair_gives_the_same_outputs_as_its_images(backend_call):
    images, _ = pair_batch()
    model = tiny_cin()
    results = getattr(model, backend_call)(images, training=False)
    paired = ops.convert_to_numpy(results["outputs"])
    uncompiled(model)
    for side, part in enumerate(images):
        np.testing.assert_allclose(paired[side::2], predictions(model, part), rtol=1e-4, atol=1e-5)
    embeddings = ops.convert_to_numpy(results["embeddings"])
    assert embeddings.shape == (4, 2, 5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1.0, rtol=1e-5)


@pytest.mark.every_backend(on_jax=False)
def test_unknown_image_size():
    model = cin_keras.CIN(
        3,
        backbone=keras.Sequential(
            [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, strides=2)]
        ),
        input_shape=(None, None, 3),
    )
    for size in (9, 14):
        images, labels = pair_batch(size=size)
        model.fit(images, labels, batch_size=4, verbose=0)
    uncompiled(model)
    for size in (9, 14):
        assert predictions(model, pair_batch(size=size)[0][0]).shape == (4, 3)


@pytest.mark.every_backend
def test_wrong_batches_are_refused_and_cost_nothing():
    images, labels = x, y = pair_batch()
    # That a trace which was broken off is not gone on with: tests/models/test_given_data.py.
    model = uncompiled(tiny_cin())
    model.fit(images, labels, batch_size=4, verbose=0)
    before = predictions(model, images[0])
    refused = {
        "single": lambda: model.fit(x[0], y[0], verbose=0),
        "labels": lambda: model.fit(x, y[0], verbose=0),
        "weights": lambda: model.train_on_batch(x, y, sample_weight=np.ones(4)),
        "rank": lambda: model.train_on_batch((x[0][0], x[1][0]), y),
        "evaluate": lambda: model.evaluate(x, y, verbose=0),
        "predict": lambda: model.predict(x, verbose=0),
    }
    for name, call in refused.items():
        with pytest.raises(ValueError) as caught:
            call()
        assert "pair" in str(caught.value), name
        np.testing.assert_array_equal(predictions(model, images[0]), before, err_msg=name)
        model.fit(images, labels, batch_size=4, verbose=0)
        before = predictions(model, images[0])


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: ((x[0], x[1][:, :4]), y), r"two that differ in .*8, 8, 3.*4, 8, 3"),
        (lambda x, y: (x, y[0]), "no pair"),
        (lambda x, y: (x, (y[0], np.eye(3)[y[1]])), "two that differ in"),
        (lambda x, y: (x, (np.eye(4)[y[0]], np.eye(4)[y[1]])), r"one-hot \(batch, 3\), as num_classes=3.*\(4, 4\)"),
    ],
    ids=["sizes", "labels", "mixed labels", "classes"],
)
def test_the_first_batch_of_a_new_model_is_checked_too(spoil, message):
    images, labels = spoil(*pair_batch())
    with pytest.raises(ValueError, match=message):
        tiny_cin().fit(images, labels, verbose=0)


@pytest.mark.every_backend
def test_single_images_are_told_what_a_pair_dataset_is():
    images, labels = pair_batch()
    with pytest.raises(ValueError, match=r"pair dataset.*\(images_a, images_b\).*single images"):
        tiny_cin().fit(images[0], labels[0], verbose=0)


@pytest.mark.every_backend(on_jax=False)  # where a file is tested by tests/models/test_every_model.py
@pytest.mark.parametrize("fitted", [False, True])
def test_saving_keeps_all(tmp_path, fitted):
    images, labels = pair_batch()
    model = tiny_cin(
        backbone=normalized_backbone(),
        alpha=1.5,
        margin=0.7,
        scale=0.5,
        dropout=0.2,
        name="mine",
        pooled=False,
        block_rows=4,
    )
    if fitted:
        uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = uncompiled(keras.saving.load_model(tmp_path / "model.keras"))
    assert type(loaded) is cin_keras.CIN and loaded.name == "mine"
    config, expected = loaded.get_config(), model.get_config()
    # The build state of a supplied backbone's layers is more exact after loading.
    assert config.pop("backbone")["class_name"] == expected.pop("backbone")["class_name"]
    assert config == expected
    np.testing.assert_allclose(
        predictions(model, images[0]), predictions(loaded, images[0]), rtol=1e-5
    )
    for weight, copy in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), ops.convert_to_numpy(copy))
    assert loaded.contrast.interaction is loaded.interaction
    assert type(loaded.optimizer) is type(model.optimizer)
    if fitted:
        for weight, copy in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(weight), ops.convert_to_numpy(copy))
    loaded.fit(images, labels, batch_size=4, verbose=0)


@pytest.mark.every_backend
def test_saving_keeps_the_compiled_optimizer_and_loss(tmp_path):
    model = tiny_cin()
    model.compile(keras.optimizers.Adam(0.123), loss="mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.Adam)
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.123)
    assert loaded.loss == "mse"


@pytest.mark.every_backend
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_saving_keeps_the_precision(tmp_path, policy):
    images, _ = pair_batch()
    model = uncompiled(tiny_cin(dtype=policy))
    model.save(tmp_path / "model.keras")
    loaded = uncompiled(keras.saving.load_model(tmp_path / "model.keras"))
    assert loaded.interaction.phi.compute_dtype == policy.split("_")[1]
    np.testing.assert_array_equal(predictions(model, images[0]), predictions(loaded, images[0]))


@pytest.mark.every_backend
def test_weights_files_fit_a_model_from_its_config(tmp_path):
    images, _ = pair_batch()
    model = uncompiled(tiny_cin())
    model.save_weights(tmp_path / "all.weights.h5")
    copy = uncompiled(cin_keras.CIN.from_config(model.get_config()))
    copy.load_weights(tmp_path / "all.weights.h5")
    np.testing.assert_array_equal(predictions(model, images[0]), predictions(copy, images[0]))


@pytest.mark.every_backend
def test_a_frozen_backbone_stays_as_it_is():
    images, labels = pair_batch()
    model = tiny_cin(backbone=normalized_backbone())
    model.backbone.trainable = False
    before = [ops.convert_to_numpy(w).copy() for w in model.backbone.weights]
    head = ops.convert_to_numpy(model.classifier.kernel).copy()
    uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    for weight, value in zip(model.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), value)
    assert np.abs(ops.convert_to_numpy(model.classifier.kernel) - head).max() > 0


@pytest.mark.every_backend
def test_freezing_after_training_followed_by_compile():
    (images, _), (labels, _) = pair_batch()
    model = tiny_cin(
        backbone=normalized_backbone(), interaction=None, contrast=None, randomize=False
    )
    model.fit(images, labels, batch_size=4, verbose=0)
    model.backbone.trainable = False
    model.compile("sgd", loss=model.loss)
    before = [ops.convert_to_numpy(w).copy() for w in model.backbone.weights]
    model.fit(images, labels, batch_size=4, verbose=0)
    for weight, value in zip(model.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(weight), value)


@pytest.mark.parametrize("freeze", ["backbone", "a layer", "all"])
def test_what_is_frozen_stays_frozen_in_the_file(tmp_path, freeze, monkeypatch):
    shorten_mobilenet(monkeypatch, 2)
    images, labels = pair_batch(size=32)
    model = cin_keras.CIN(
        3, "mobilenet", None, (32, 32, 3), feature_layer="conv_pw_2_relu", embedding_dim=4
    )
    if freeze == "backbone":
        model.backbone.trainable = False
    elif freeze == "a layer":
        model.get_layer("conv_pw_1").trainable = False
    else:
        model.trainable = False
    if freeze != "all":
        uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    paths = [weight.path.split("/", 1)[-1] for weight in model.trainable_weights]
    assert [weight.path.split("/", 1)[-1] for weight in loaded.trainable_weights] == paths
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables) or freeze == "all"


def test_parts_of_the_head_that_are_frozen_stay_so(tmp_path):
    def left(model):
        return [weight.path.partition("/")[2] for weight in model.trainable_weights]

    model = tiny_cin(own_phi=True)
    whole = left(model)
    for part in (model.interaction.phi, model.contrast.psi, model.contrast.contrastive_phi.phi):
        part.trainable = False
        model.save(tmp_path / "model.keras")
        assert left(keras.saving.load_model(tmp_path / "model.keras")) == left(model) != whole
        whole = left(model)
    other = cin_keras.CIN.from_config({**model.get_config(), "contrast": None, "own_phi": False})
    assert other.contrast is None and not other.interaction.phi.trainable
    attention = tiny_cin(interaction="osme", contrast="mamc", randomize=False)
    attention.interaction.gate[1].trainable = False
    again = cin_keras.CIN.from_config(attention.get_config())
    assert [layer.trainable for layer in again.interaction.gate] == [True, False]


@pytest.mark.parametrize("kind", ["functional", "subclass"])
def test_a_backbone_frozen_in_part_or_whole_stays_so(tmp_path, kind):
    images, labels = pair_batch()
    backbone = normalized_backbone() if kind == "functional" else Subclassed()
    model = tiny_cin(backbone=backbone)
    model.backbone.trainable = False
    if kind == "functional":
        model.backbone.get_layer("last").trainable = True
    uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)


@pytest.mark.every_backend
@pytest.mark.parametrize("which", ["all", "all but the last", "embedding", "contrast"])
def test_freezing_layer_by_layer(tmp_path, which):
    """What trains is what is not frozen, ψ and the embedding included, also in the file."""
    model = tiny_cin(descriptor="average")
    if which in ("embedding", "contrast"):
        frozen = [getattr(model, which)]
        frozen[0].trainable = False
        expected = {w.path for w in model.weights} - {w.path for w in frozen[0].weights}
        if which == "contrast":  # φ is the interaction's, which it shares
            model.interaction.trainable = True
            expected |= {w.path for w in model.interaction.weights}
    else:
        for layer in model.layers if which == "all" else model.layers[:-1]:
            layer.trainable = False
        expected = set() if which == "all" else {w.path for w in model.classifier.weights}
    assert {w.path for w in model.trainable_weights} == expected
    images, labels = pair_batch()
    before = {w.path: ops.convert_to_numpy(w).copy() for w in model.weights}
    if expected:
        model.compile("sgd", model.loss)
        uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    for weight in model.weights:
        moved = np.abs(ops.convert_to_numpy(weight) - before[weight.path]).max() > 0
        assert weight.path in expected or not moved
        assert moved or weight.path != model.classifier.kernel.path or not expected
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    assert loaded.embedding.trainable == model.embedding.trainable


@pytest.mark.every_backend
def test_the_layers_of_training_have_names(tmp_path):
    """The same before and after saving."""
    model = tiny_cin()
    model.save(tmp_path / "model.keras")
    for one in (model, keras.saving.load_model(tmp_path / "model.keras")):
        assert one.get_layer("embedding") is one.embedding
        assert one.get_layer("contrastive_channel_interaction") is one.contrast
        assert one.layers[-1] is one.classifier
        assert len({layer.name for layer in one.layers}) == len(one.layers)
    with pytest.raises(ValueError, match="embedding"):
        tiny_cin(contrast=None, randomize=False).get_layer("embedding")


def test_summary_features_and_plot(capsys, tmp_path):
    images, _ = pair_batch(size=32)
    model = cin_keras.CIN(3, "mobilenet", None, (32, 32, 3), feature_layer="conv_pw_3_relu")
    model.summary()
    assert "self_channel_interaction" in capsys.readouterr().out
    features = keras.Model(model.input, model.get_layer("conv_pw_2_relu").output)
    assert tuple(features(images[0]).shape) == (4, 8, 8, 128)
    assert model.count_params() == sum(int(np.prod(w.shape)) for w in model.weights)
    try:
        keras.utils.plot_model(model, tmp_path / "model.png")
    except ImportError as error:
        assert "pydot" in str(error) or "graphviz" in str(error)
    else:
        assert (tmp_path / "model.png").stat().st_size > 0


def test_a_number_of_classes_from_numpy():
    model = tiny_cin(num_classes=np.int64(3))
    assert type(model.get_config()["num_classes"]) is int


def test_features_on_every_position_need_a_fixed_size():
    images, labels = pair_batch()
    model = tiny_cin(descriptor="flatten")
    assert model.embedding.kernel.shape[0] == 8 * 8 * 4
    uncompiled(model).fit(images, labels, batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="fixed input size"):
        cin_keras.CIN(
            3,
            backbone=keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)]),
            input_shape=(None, None, 3),
            descriptor="flatten",
        )


@pytest.mark.every_backend
def test_the_global_dtype_policy_is_honoured():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny_cin()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.interaction.phi.compute_dtype == "bfloat16"
    assert model.get_config()["dtype"]["config"]["name"] == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": 2.0}, "num_classes=2.0"),
        ({"alpha": -1}, "alpha=-1"),
        ({"alpha": None}, "alpha=None"),
        ({"margin": "x"}, "margin='x'"),
        ({"scale": "x"}, "scale='x'"),
        ({"margin": 0}, "margin=0"),
        ({"embedding_dim": 0}, "embedding_dim=0"),
        ({"scale": -1.0}, "scale=-1.0"),
        ({"dropout": 1}, "dropout=1"),
        ({"classifier_activation": "relu"}, "classifier_activation='relu'"),
        ({"input_shape": (8, 8)}, r"input_shape=\(8, 8\)"),
        ({"input_shape": (8, 8, 1)}, r"\(height, width, 3\)"),
        ({"descriptor": "max"}, "descriptor='max'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    defaults = {"num_classes": 3, "backbone": tiny_backbone(), "input_shape": (8, 8, 3)}
    with pytest.raises(ValueError, match=message):
        cin_keras.CIN(**{**defaults, **arguments})
