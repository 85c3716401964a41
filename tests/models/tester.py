"""What every model of the package can do: one function, which a new model's test calls."""

import keras
import numpy as np
from keras import ops

import cin_keras
from tests import reference
from tests.models.networks import pair_batch, tiny_backbone, uncompiled


def assert_usable(build, folder, size, pairs, traced=True):
    """Trains, evaluates, predicts, saves, freezes and exports a model, and in half precision.

    Args:
        build: Function from keyword arguments to a model of three classes and no randomness in
            training; it is given `backbone`, `input_shape`, `class_names` and `dtype`.
        folder: `pathlib.Path`, empty.
        size: Int, pixels of the images.
        pairs: Bool, whether it learns from pairs.
        traced: Bool, whether TensorFlow traces what trains and predicts. Defaults to `True`.
    """
    names = ["ant", "bee", "cow"]
    batch, (images, labels) = training_batch(pairs, size)

    def make(dtype=None):
        backbone = tiny_backbone(size=size)
        return build(backbone=backbone, input_shape=(size, size, 3), class_names=names, dtype=dtype)

    model = make() if traced else uncompiled(make())
    before = arrays(model.trainable_weights)
    history = model.fit(*batch, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all() and "accuracy" in history
    for weight, old in zip(model.trainable_weights, before, strict=True):
        new = ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        # Of a Navigator, what scores boxes of sizes that were not chosen stays.
        assert (new != old).any() or "navigator/" in weight.path, weight.path
    expected = model.predict(images, verbose=0)
    results = uncompiled(model).evaluate(images, labels, verbose=0, return_dict=True)
    assert set(results) == {"loss", "accuracy"}
    assert expected.shape == (len(images), 3) and expected.dtype == "float32"
    loss = float(model.loss(labels, expected))
    np.testing.assert_allclose(results["loss"], loss, rtol=1e-4)

    # Saved with names, size, settings, and what is frozen.
    model.settings = {"epochs": 2}
    model.backbone.trainable = False
    model.save(folder / "model.keras")
    loaded = uncompiled(cin_keras.load_model(folder / "model.keras"))
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert (loaded.class_names, loaded.settings) == (names, {"epochs": 2})
    assert loaded.image_size == (size, size)
    of_backbone, others = arrays(loaded.backbone.weights), arrays(loaded.classifier.weights)
    loaded.fit(*batch, batch_size=4, verbose=0)
    for old, weight in zip(of_backbone, arrays(loaded.backbone.weights), strict=True):
        np.testing.assert_array_equal(weight, old)
    assert (arrays(loaded.classifier.weights)[0] != others[0]).any()

    half = uncompiled(make("mixed_bfloat16"))
    assert np.isfinite(half.fit(*batch, batch_size=4, verbose=0).history["loss"]).all()
    assert half.predict(images, verbose=0).dtype == "float32"
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        model.export(folder / "served", verbose=False)
        served = tf.saved_model.load(folder / "served")
        answer = served.signatures["serving_default"](images=tf.constant(images, tf.float32))
        chances = ops.convert_to_numpy(ops.softmax(expected))
        reference.assert_close(answer["probabilities"], chances)
        assert [name.decode() for name in answer["class_names"].numpy()] == [
            names[number] for number in expected.argmax(axis=1)
        ]
        assert answer["embeddings"].shape[0] == len(images)


def training_batch(pairs, size):
    """`(x, y)` of four pairs, or of their eight images, and single images with their labels."""
    images, labels = pair_batch(size=size)
    single = np.concatenate(images), np.concatenate(labels)
    return (images, labels) if pairs else single, (images[0], labels[0])


def arrays(weights):
    return [np.array(ops.convert_to_numpy(weight)) for weight in weights]
