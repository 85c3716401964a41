"""One training step of a CIN against the design's loops and central differences."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.losses import SoftmaxCrossentropy
from tests import reference
from tests.models.networks import (
    normalized_backbone,
    pair_batch,
    plain_pairs_cin,
    tiny_backbone,
    tiny_cin,
    uncompiled,
)

pytestmark = pytest.mark.every_backend
NAMES = {
    "conv/kernel": "backbone_kernel",
    "conv/bias": "backbone_bias",
    "phi/kernel": "phi_kernel",
    "phi/bias": "phi_bias",
    "psi/kernel": "psi_kernel",
    "psi/bias": "psi_bias",
    "classifier/kernel": "classifier_kernel",
    "classifier/bias": "classifier_bias",
    "embedding/kernel": "embedding_kernel",
}


def parameters_of(model):
    """The trainable weights by the reference's names, in float64."""
    values = {}
    for variable in model.trainable_variables:
        name = NAMES["/".join(variable.path.split("/")[-2:])]
        value = ops.convert_to_numpy(variable).astype("float64")
        values[name] = value[0, 0] if name == "backbone_kernel" else value
    return values


def one_step(model, batch, compiled=False):
    """The gradients that one step of plain descent with rate 1 applied, and its logs."""
    before = parameters_of(model)
    (images, labels), weights = batch[:2], batch[2] if len(batch) > 2 else None
    fit = (model if compiled else uncompiled(model)).fit
    logs = fit(images, labels, sample_weight=weights, batch_size=len(labels[0]), verbose=0).history
    after = parameters_of(model)
    return {k: before[k] - after[k] for k in before}, {k: v[0] for k, v in logs.items()}


@functools.cache
def expected_step(alpha, margin, scale):
    """The loss of `tiny_cin` on small images and all its gradients, the same for every form."""
    model = seeded_cin(alpha=alpha, margin=margin, scale=scale)
    loss, parameters = reference_of(model, small_batch()), parameters_of(model)
    return loss(parameters), reference.gradient(lambda p: loss(p)[0], parameters)


def small_batch():
    """A positive and a negative pair."""
    return pair_batch(pairs=2, size=3)


def seeded_cin(**kwargs):
    keras.utils.set_random_seed(7)
    return tiny_cin(backbone=tiny_backbone(channels=3, size=3), size=3, **kwargs)


def reference_of(model, batch):
    images, labels = batch
    images = np.stack(images, axis=1).astype("float64")
    labels = np.stack(labels, axis=1)

    def loss(parameters):
        return reference.training_loss(
            images, labels, parameters, model.alpha, model.margin, model.scale
        )

    return loss


@pytest.mark.parametrize("form", [{}, {"pooled": False}, {"block_rows": 2}])
def test_loss_and_all_gradients_agree_with_the_loops(form):
    settings = {"alpha": 2.0, "margin": 0.5, "scale": 0.5}
    (total, soft, contrastive), expected = expected_step(**settings)
    model = seeded_cin(**form, **settings)
    model.compile(keras.optimizers.SGD(1.0), loss=SoftmaxCrossentropy(), metrics=["accuracy"])
    gradients, logs = one_step(model, small_batch(), compiled=not form)
    assert contrastive > 0.001, "the contrastive term must have a say here"
    assert logs["loss"] == pytest.approx(total, rel=1e-4)
    assert logs["classification_loss"] == pytest.approx(soft, rel=1e-4)
    assert logs["contrastive_loss"] == pytest.approx(contrastive, rel=1e-4)
    assert set(gradients) == set(NAMES.values())
    for name, gradient in gradients.items():
        assert np.abs(expected[name]).max() > 1e-5, f"{name} is not exercised"
        reference.assert_close(gradient, expected[name], absolute=1e-6)


@pytest.mark.every_backend(on_jax=False)
def test_without_alpha_only_the_classifier_trains():
    model = tiny_cin(alpha=0.0)
    model.compile(keras.optimizers.SGD(1.0), loss=SoftmaxCrossentropy())
    gradients, logs = one_step(model, pair_batch())
    assert logs["loss"] == pytest.approx(logs["classification_loss"], rel=1e-5)
    for name in ("psi_kernel", "embedding_kernel"):
        np.testing.assert_array_equal(gradients[name], 0.0)
    assert np.abs(gradients["classifier_kernel"]).max() > 0


def test_identical_images_leave_all_weights_finite():
    (images, _), (labels, other) = pair_batch()
    model = tiny_cin(randomize=False)
    model.compile(keras.optimizers.SGD(1.0), loss=SoftmaxCrossentropy())
    for second in (labels, (labels + 1) % 3):
        gradients, _ = one_step(model, ((images, images), (labels, second)))
        assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_an_embedding_of_zero_leaves_all_weights_finite():
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 1, use_bias=False, name="conv", activation="relu")(inputs)
    model = tiny_cin(backbone=keras.Model(inputs, features), randomize=False)
    (images_a, images_b), labels = pair_batch()
    images_a[0] = 0
    uncompiled(model)
    history = model.fit((images_a, images_b), labels, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(ops.convert_to_numpy(weight)).all() for weight in model.weights)


@pytest.mark.every_backend(on_jax=False)
def test_sparse_and_one_hot_labels_give_the_same_step():
    (images, labels), histories = pair_batch(), []
    for given in (labels, tuple(np.eye(3)[part] for part in labels)):
        keras.utils.set_random_seed(1)
        model = uncompiled(tiny_cin())
        history = model.fit(images, given, batch_size=4, epochs=2, verbose=0).history
        histories.append(history)
    for key in histories[0]:
        assert histories[0][key] == pytest.approx(histories[1][key], rel=1e-5), key


@pytest.mark.every_backend(on_jax=False)
def test_the_weight_of_a_pair_is_the_mean_of_its_two():
    images, labels = pair_batch()
    weights = (np.array([1.0, 2.0, 0.0, 3.0]), np.array([3.0, 0.0, 0.0, 1.0]))
    model = tiny_cin()
    embeddings = ops.convert_to_numpy(model(images, training=False)["embeddings"])
    per_pair = reference.pair_losses(embeddings, labels[0] == labels[1], model.margin)
    logits = ops.convert_to_numpy(model(images, training=False)["outputs"]).reshape(4, 2, 3)
    soft = (
        sum(
            weights[side][i] * reference.cross_entropy(logits[i, side], labels[side][i])
            for side in range(2)
            for i in range(4)
        )
        / 8
    )
    contrastive = np.mean(per_pair * (weights[0] + weights[1]) / 2)
    model.compile(keras.optimizers.SGD(0.0), loss=SoftmaxCrossentropy())
    _, logs = one_step(model, (images, labels, weights))
    assert logs["classification_loss"] == pytest.approx(soft, rel=1e-4)
    assert logs["contrastive_loss"] == pytest.approx(contrastive, rel=1e-4)
    assert logs["loss"] == pytest.approx(soft + model.alpha * contrastive, rel=1e-4)


def test_accuracy_is_over_all_images_of_the_pairs():
    images, labels = pair_batch(pairs=6)
    model = tiny_cin()
    model.compile(keras.optimizers.SGD(0.0), loss=SoftmaxCrossentropy(), metrics=["accuracy"])
    _, logs = one_step(model, (images, labels))
    predicted = [model.predict(part, verbose=0).argmax(axis=1) for part in images]
    hits = [p == y for p, y in zip(predicted, labels, strict=True)]
    assert logs["accuracy"] == pytest.approx(np.mean(hits))


def test_layer_penalties_join_the_loss_once():
    images, labels = pair_batch()
    regularizer = keras.regularizers.L2(0.1)
    model = tiny_cin(backbone=normalized_backbone(kernel_regularizer=regularizer))
    penalty = float(regularizer(model.backbone.get_layer("last").kernel))
    model.compile(keras.optimizers.SGD(0.0), loss=SoftmaxCrossentropy())
    logs = uncompiled(model).fit(images, labels, batch_size=4, verbose=0).history
    expected = logs["classification_loss"][0] + model.alpha * logs["contrastive_loss"][0] + penalty
    assert penalty > 0.01
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-4)


def test_accumulated_gradients_are_those_of_the_joint_batch():
    images, labels = pair_batch(pairs=4)
    weights = {}
    for steps, size in ((None, 4), (2, 2)):
        model = tiny_cin()
        keras.utils.set_random_seed(2)
        model.set_weights(
            [
                np.random.default_rng(i).normal(size=w.shape) * 0.3
                for i, w in enumerate(model.weights)
            ]
        )
        model.compile(
            keras.optimizers.SGD(0.5, gradient_accumulation_steps=steps), loss=SoftmaxCrossentropy()
        )
        uncompiled(model).fit(images, labels, batch_size=size, shuffle=False, verbose=0)
        weights[steps] = parameters_of(model)
    for name, expected in weights[None].items():
        reference.assert_close(weights[2][name], expected, absolute=1e-5)


@pytest.mark.every_backend(on_jax=False)
def test_clipping_works():
    model = tiny_cin()
    model.compile(keras.optimizers.SGD(1.0, global_clipnorm=1e-3), loss=SoftmaxCrossentropy())
    gradients, _ = one_step(model, pair_batch())
    norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
    assert norm == pytest.approx(1e-3, rel=0.02)


def test_averaged_weights_stand_at_the_end():
    images, labels = pair_batch()
    weights = {}
    for epochs, averaging in ((1, {}), (3, {"use_ema": True, "ema_momentum": 1.0})):
        keras.utils.set_random_seed(2)
        model = tiny_cin()
        model.compile(keras.optimizers.SGD(0.5, **averaging), loss=SoftmaxCrossentropy())
        uncompiled(model).fit(images, labels, batch_size=4, epochs=epochs, verbose=0)
        weights[epochs] = parameters_of(model)
    # The average starts with the first step's weights and, with momentum 1, stays there.
    for name, expected in weights[1].items():
        reference.assert_close(weights[3][name], expected, absolute=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_with_float32_variables(policy):
    images, labels = pair_batch()
    model = tiny_cin(dtype=policy)
    if policy == "mixed_bfloat16":  # without the scaling of losses, which has branches
        uncompiled(model)
    history = model.fit(images, labels, batch_size=4, epochs=6, verbose=0).history
    assert model.dtype_policy.name == policy
    assert (type(model.optimizer).__name__ == "LossScaleOptimizer") == (policy == "mixed_float16")
    assert model.interaction.phi.compute_dtype == policy.split("_")[1]
    assert keras.backend.standardize_dtype(model(images[0]).dtype) == "float32"
    assert np.isfinite(history["loss"]).all() and history["loss"][-1] < history["loss"][0]
    assert keras.config.dtype_policy().name == "float32", "the global policy stays as it was"


NOT_ON_JAX = pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="minutes, an operation at a time, of the very functions that are compiled",
)
NOT_ON_TORCH = pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="Keras refuses or fails to compile this option on the PyTorch backend",
)


@pytest.mark.parametrize(
    "option",
    [
        pytest.param("run_eagerly", marks=NOT_ON_JAX),
        pytest.param("jit_compile", marks=NOT_ON_TORCH),
        pytest.param("steps_per_execution", marks=NOT_ON_TORCH),
    ],
)
def test_compile_options(option):
    images, labels = pair_batch()
    model = tiny_cin() if option == "jit_compile" else plain_pairs_cin()
    value = 2 if option == "steps_per_execution" else True
    model.compile(keras.optimizers.Adam(1e-3), loss=SoftmaxCrossentropy(), **{option: value})
    history = model.fit(
        images, labels, batch_size=2, epochs=2, validation_data=(images[0], labels[0]), verbose=0
    ).history
    assert history["loss"][1] < history["loss"][0] and len(history["val_loss"]) == 2


@pytest.mark.every_backend(on_jax=False)
def test_any_optimizer_loss_and_metrics():
    images, labels = pair_batch()
    model = tiny_cin()
    model.compile(
        "adamw",
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=[keras.metrics.TopKCategoricalAccuracy(2, name="top_2")],
        weighted_metrics=["accuracy"],
    )
    one_hot = tuple(np.eye(3)[part] for part in labels)
    history = uncompiled(model).fit(images, one_hot, batch_size=4, verbose=0).history
    assert {"loss", "top_2", "accuracy", "classification_loss", "contrastive_loss"} <= set(history)
