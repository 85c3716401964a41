import functools

import keras
import pytest

import cin_keras
from tests.models.networks import pair_batch, tiny_cin, uncompiled

LOGITS = [
    "sparse_categorical_crossentropy",
    "SparseCategoricalCrossentropy",
    "categorical_crossentropy",
    "crossentropy",
    ["sparse_categorical_crossentropy"],
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy(),
    keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    keras.losses.CategoricalFocalCrossentropy(),
    cin_keras.losses.SoftmaxCrossentropy(from_logits=False),
    "kl_divergence",
    keras.losses.KLDivergence(),
    keras.losses.Poisson,
    "dice",
]
PROBABILITIES = [
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True),
    cin_keras.losses.SoftmaxCrossentropy(),
]


@pytest.mark.parametrize("loss", LOGITS)
def test_a_loss_for_probabilities_is_refused_on_logits(loss):
    model = tiny_cin()
    before = model.loss
    with pytest.raises(ValueError, match="gives logits.*SoftmaxCrossentropy.*Received: loss="):
        model.compile("sgd", loss)
    assert model.loss is before
    tiny_cin(classifier_activation="softmax").compile("sgd", loss)


@pytest.mark.parametrize("loss", PROBABILITIES)
def test_a_loss_for_logits_is_refused_on_probabilities(loss):
    model = tiny_cin(classifier_activation="softmax")
    with pytest.raises(ValueError, match="gives probabilities.*from_logits=False.*Received: loss="):
        model.compile("sgd", loss=loss)
    tiny_cin().compile("sgd", loss)


def dice(y_true, y_pred):
    """Somebody's own, which may do with logits what it likes."""
    return keras.losses.dice(y_true, keras.ops.softmax(y_pred))


@pytest.mark.parametrize("loss", ["mse", None, lambda y_true, y_pred: y_pred[:, 0], "hinge", dice])
def test_other_losses_are_taken(loss):
    tiny_cin().compile("sgd", loss)


@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
def test_metrics_are_looked_at_too(argument):
    model = tiny_cin()
    with pytest.raises(ValueError, match="takes for probabilities.*metrics.SparseCat.*Received: "):
        metrics = ["accuracy", keras.metrics.SparseCategoricalCrossentropy()]
        model.compile("sgd", model.loss, **{argument: metrics})
    good = ["accuracy", keras.metrics.SparseCategoricalCrossentropy(from_logits=True)]
    model.compile("sgd", model.loss, **{argument: good})


def test_a_file_with_such_a_loss_loads_with_a_warning(tmp_path):
    images, labels = pair_batch()
    model = tiny_cin()
    # As an earlier version compiled it.
    keras.Model.compile(model, keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    uncompiled(model).fit(images, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="gives logits"):
        loaded = cin_keras.load_model(tmp_path / "model.keras")
    assert loaded.loss == "sparse_categorical_crossentropy"
    assert int(loaded.optimizer.iterations) == 1
