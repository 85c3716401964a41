import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import cin_keras
from cin_keras.layers import memory, self_channel_interaction, symmetric_softmax
from cin_keras.serving import folding
from tests.models.networks import awake, pair_batch, tiny_backbone, tiny_cin

pytestmark = pytest.mark.every_backend

IMAGES = pair_batch()[0][0].astype("float32")


@pytest.fixture
def folded(monkeypatch):
    """Counts how often φ is folded and how often the folded layer computes."""
    counts = {"folded": 0, "computed": 0}

    def counting(name, method):
        @functools.wraps(method)
        def run(*args, **kwargs):
            counts[name] += 1
            return method(*args, **kwargs)

        return run

    for name, method in (("folded", "_folded"), ("computed", "call")):
        found = counting(name, getattr(folding.FoldedHeads, method))
        monkeypatch.setattr(folding.FoldedHeads, method, found)
    return counts


def expected(model):
    """The whole network's scores, which `predict_on_batch` computes."""
    return model.predict_on_batch(IMAGES)


def same(model):
    np.testing.assert_allclose(
        model.predict(IMAGES, batch_size=2, verbose=0), expected(model), rtol=1e-4, atol=1e-4
    )


def test_the_same_scores_from_weights_that_change(folded, tmp_path):
    model = awake(tiny_cin())
    same(model)
    same(model)
    assert folded["folded"] == 1
    before = model.predict(IMAGES, batch_size=2, verbose=0)
    images, labels = pair_batch()
    model.compile(keras.optimizers.SGD(0.1), loss=cin_keras.losses.SoftmaxCrossentropy())
    model.train_on_batch(images, labels)
    same(model)
    assert folded["folded"] == 2 and folded["computed"] > 0
    assert not np.allclose(model.predict(IMAGES, batch_size=2, verbose=0), before)
    # By hand, each weight that is folded: one number of it.
    for weight in (*model.interaction.phi.weights, *model.classifier.weights):
        value = keras.ops.convert_to_numpy(weight).copy()
        value.flat[-1] += 1.0
        weight.assign(value)
        same(model)
    assert folded["folded"] == 6
    # What lies before φ is shared, and needs no folding.
    model.backbone.layers[-1].bias.assign([0.5, 1.0, 1.5, 2.0])
    same(model)
    assert folded["folded"] == 6
    model.save(tmp_path / "model.keras")
    assert len(model.weights) == len(tiny_cin().weights)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(expected(loaded), expected(model), rtol=1e-5)
    same(loaded)


class Doubled(cin_keras.CIN):
    """A class of a user's own, with a computation of its own."""

    def predict_step(self, *args):
        found = super().predict_step(*args)
        return (2 * found[0], *found[1:]) if isinstance(found, tuple) else 2 * found


def test_one_batch_is_not_worth_a_look_at_the_weights(folded):
    model = awake(tiny_cin())
    for options in ({}, {"batch_size": 4}, {"batch_size": 2, "steps": 1}):
        model.predict(IMAGES, verbose=0, **options)
    assert folded["folded"] == 0
    same(model)
    assert folded["folded"] == 1
    assert model.prediction_network() is not model


def test_the_whole_network_runs_where_somebody_looks_at_it(folded):
    seen = []

    class Look(keras.callbacks.Callback):
        def on_predict_begin(self, logs=None):
            seen.append(self.model)

    model = awake(tiny_cin())
    model.predict(IMAGES, batch_size=2, verbose=0, callbacks=[Look()])
    assert seen == [model]
    model.run_eagerly = True
    same(model)
    model.run_eagerly = False
    own = awake(Doubled(3, tiny_backbone(), input_shape=(8, 8, 3), embedding_dim=5))
    own_scores = own.predict(IMAGES, batch_size=2, verbose=0)
    assert folded["computed"] == 0
    np.testing.assert_allclose(
        own_scores, 2 * model.predict(IMAGES, batch_size=2, verbose=0), rtol=1e-4
    )
    assert folded["computed"] > 0


def test_it_is_compiled_as_the_model_is():
    model = awake(tiny_cin())
    assert model.prediction_network().steps_per_execution == 1
    model.compile(loss=model.loss, steps_per_execution=3, jit_compile=False)
    network = model.prediction_network()
    assert (network.steps_per_execution, network.jit_compile) == (3, False)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the loop is TensorFlow's")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_large_matrices_are_made_image_by_image_but_for_other_machines(monkeypatch, jit_compile):
    def loops(network):
        images = tf.TensorSpec((None, *IMAGES.shape[1:]))
        graph = tf.function(network).get_concrete_function(images).graph
        return sum("While" in operation.type for operation in graph.get_operations())

    def scores():
        model = awake(tiny_cin())
        model.compile(loss=model.loss, jit_compile=jit_compile)
        return model.predict(IMAGES, batch_size=3, verbose=0), model

    whole, model = scores()
    assert loops(model.prediction_network()) == 0
    monkeypatch.setattr(memory, "FEWEST_CHANNELS", 2)
    looped, model = scores()
    assert loops(model.prediction_network()) == 1
    assert loops(folding.folded_inference(model)) == 0
    np.testing.assert_allclose(looped, whole, rtol=1e-5)


@pytest.mark.parametrize("interaction, halves", [("sci", True), ("pos_sci", False)])
def test_half_of_large_matrices_is_computed_but_for_other_machines(monkeypatch, interaction, halves):
    computed = []

    def mix(x, *args):
        computed.append(x.shape)
        return symmetric_softmax.mix_symmetric(x, *args)

    monkeypatch.setattr(self_channel_interaction, "mix_symmetric", mix)
    model = awake(tiny_cin(interaction=interaction))
    whole = model.predict(IMAGES, batch_size=3, verbose=0)
    assert not computed, "small ones are soon made"
    monkeypatch.setattr(memory, "FEWEST_CHANNELS", 2)
    model = awake(tiny_cin(interaction=interaction))
    model.train_on_batch(*pair_batch())
    model.predict_on_batch(IMAGES)
    folding.folded_inference(model)(IMAGES)
    assert not computed
    model = awake(tiny_cin(interaction=interaction))
    found = model.predict(IMAGES, batch_size=3, verbose=0)
    assert bool(computed) == halves
    np.testing.assert_allclose(found, whole, rtol=1e-5)


def test_a_mistake_costs_neither_the_weights_nor_the_next_prediction():
    """JAX takes a model's variables away for a step, and gives them back after it."""

    def pairs():
        yield (IMAGES[:2],)
        yield ((IMAGES[:2], IMAGES[:2]),)

    model = awake(tiny_cin())
    found = model.predict(IMAGES, batch_size=2, verbose=0)

    def interrupted():
        yield (IMAGES[:2],)
        yield (IMAGES[2:],)
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, tf.errors.UnknownError)):
        model.predict(interrupted(), verbose=0)
    with pytest.raises((ValueError, TypeError)):  # TensorFlow wants batches of one structure
        model.predict(pairs(), verbose=0)
    np.testing.assert_allclose(model.predict(IMAGES, batch_size=2, verbose=0), found, rtol=1e-6)
    same(model)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the mode is PyTorch's")
def test_a_prediction_in_inference_mode_may_be_followed_by_training():
    import torch

    model = awake(tiny_cin())
    with torch.inference_mode():
        same(model)
    model.train_on_batch(*pair_batch())
    same(model)


def test_pairs_are_refused():
    model = awake(tiny_cin())
    with pytest.raises(ValueError, match="pair"):
        model.predict((IMAGES, IMAGES), batch_size=2, verbose=0)


def test_quantized_weights_are_not_folded(folded):
    model = awake(tiny_cin())
    same(model)
    model.classifier.quantize("int8")
    count = folded["folded"]
    model.predict_function = None
    same(model)
    assert folded["folded"] == count
