import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.models import Whitening
from tests.models.networks import pair_batch, tiny_cin, uncompiled

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("images", [200, 3])
def test_cosines_are_those_of_mahalanobis(images):
    """Products of whitened vectors are products by the inverse of the shrunk covariance."""
    known = RNG.normal(size=(images, 5)) @ RNG.normal(size=(5, 5)) + 3
    covariance = np.cov(known.T, bias=True)
    shrunk = 0.8 * covariance + 0.2 * np.trace(covariance) / 5 * np.eye(5)
    other = RNG.normal(size=(4, 5))
    whitened = Whitening.fit(known, shrinkage=0.2)(other)
    for i in range(4):
        for j in range(4):
            a, b = other[i] - known.mean(axis=0), other[j] - known.mean(axis=0)
            mahalanobis = a @ np.linalg.inv(shrunk) @ b
            assert whitened[i] @ whitened[j] == pytest.approx(mahalanobis, rel=1e-3, abs=1e-3)


def test_the_directions_of_most_variance_are_kept():
    known = RNG.normal(size=(500, 4)) * [1.0, 9.0, 0.1, 3.0]
    whitening = Whitening.fit(known, dimensions=2, shrinkage=1e-6)
    assert whitening.kernel.shape == (4, 2) and whitening.mean.dtype == "float32"
    assert np.abs(whitening.kernel).argmax(axis=0).tolist() == [1, 3]
    np.testing.assert_allclose(whitening(known).std(axis=0), 1, rtol=1e-3)
    assert Whitening.fit(RNG.normal(size=(9, 1))).kernel.shape == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"embeddings": np.full((3, 2), np.nan)}, "`embeddings` must be finite"),
        ({"embeddings": np.ones((1, 2))}, "of two images or more"),
        ({"embeddings": np.ones(4)}, "shape .4,."),
        ({"embeddings": np.ones((3, 2))}, "all alike"),
        ({"embeddings": np.eye(3), "dimensions": 0}, "dimensions"),
        ({"embeddings": np.eye(3), "shrinkage": 0}, "shrinkage"),
        ({"embeddings": np.eye(3), "shrinkage": 1.5}, "shrinkage"),
    ],
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Whitening.fit(**arguments)


def test_arrays_must_fit_together():
    with pytest.raises(ValueError, match=r"mean.shape=\(3,\), kernel.shape=\(2, 2\)"):
        Whitening(np.zeros(3), np.eye(2))


@pytest.mark.every_backend
def test_it_lies_in_the_file(tmp_path):
    model = tiny_cin()
    assert model.whitening is None
    with pytest.raises(ValueError, match="of the 4 numbers that the classifier sees"):
        model.whitening = Whitening.fit(np.eye(3))
    with pytest.raises(ValueError, match="`whitening` must be a Whitening"):
        model.whitening = np.eye(4)
    weights = len(model.weights)
    model.whitening = Whitening.fit(RNG.normal(size=(9, 4)), dimensions=3)
    assert len(model.weights) == weights
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    again = tiny_cin()
    again.load_weights(tmp_path / "model.weights.h5")
    for loaded in (cin_keras.load_model(tmp_path / "model.keras"), again):
        for name in ("mean", "kernel"):
            expected = getattr(model.whitening, name)
            np.testing.assert_array_equal(getattr(loaded.whitening, name), expected)
        images = RNG.uniform(0, 255, (2, 8, 8, 3))
        predicted = [m.predict(images, verbose=0) for m in (loaded, model)]
        np.testing.assert_allclose(*predicted, rtol=1e-5)
    # A file without one takes it away again.
    tiny_cin().save_weights(tmp_path / "plain.weights.h5")
    again.load_weights(tmp_path / "plain.weights.h5")
    assert again.whitening is None


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda store: store.pop("whitening_mean"), "in part: whitening_kernel alone"),
        (lambda store: store.update(whitening_mean=np.zeros(9)), r"mean.shape=\(9,\)"),
    ],
)
def test_half_a_whitening_is_refused(spoil, words):
    model, store = tiny_cin(), {}
    model.whitening = Whitening.fit(np.eye(4))
    model.save_own_variables(store)
    spoil(store)
    with pytest.raises(ValueError, match=words):
        model.load_own_variables(store)


@pytest.mark.every_backend(on_jax=False)
def test_served_and_gallery_embeddings_are_whitened(tmp_path, decoder_once):
    model = tiny_cin()
    seen = keras.Model(model.input, model.classifier.input)
    images = RNG.uniform(0, 255, (6, 8, 8, 3)).astype("float32")
    before = cin_keras.Gallery(model).model_hash
    model.whitening = Whitening.fit(seen.predict(images, verbose=0), dimensions=3)
    whitened = model.whitening(seen.predict(images, verbose=0))
    expected = whitened / np.linalg.norm(whitened, axis=1, keepdims=True)
    gallery = cin_keras.Gallery(model)
    assert model.embedding_width == gallery.embeddings.shape[1] == 3
    np.testing.assert_allclose(gallery.embed(images), expected, atol=1e-5)
    assert gallery.model_hash != before
    if keras.backend.backend() != "torch":
        import tensorflow as tf

        model.export(tmp_path / "served", verbose=False)
        served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
        found = served(images=tf.constant(images))["embeddings"]
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.every_backend
def test_training_on_leaves_what_is_of_the_weights_before_with_a_warning(recwarn):
    model = uncompiled(tiny_cin(contrast=None, randomize=False))
    images, labels = (part[0] for part in pair_batch())
    model.fit(images, labels, verbose=0)
    assert not [w for w in recwarn if "before this training" in str(w.message)]
    width = model.embedding_width
    model.whitening, model.temperature = Whitening(np.zeros(width), np.eye(width)), 1.5
    with pytest.warns(UserWarning, match="^The whitening and temperature of .* before this training"):
        model.fit(images, labels, verbose=0)
    model.backbone.trainable = model.interaction.trainable = False
    model.compile("sgd", loss=model.loss)
    with pytest.warns(UserWarning, match="^The temperature of the model.* temperature = 1"):
        uncompiled(model).fit(images, labels, verbose=0)

    class Calibrate(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.model.temperature = 1.25

    recwarn.clear()
    model.fit(images, labels, verbose=0, callbacks=[Calibrate()])
    model.temperature = 1.5
    model.fit(images, labels, initial_epoch=1, verbose=0)
    assert not [w for w in recwarn if "before this training" in str(w.message)]
