import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.keras_internals import variable_index
from cin_keras.layers import SelfChannelInteraction
from cin_keras.optimizers import LayerwiseAdamW, LayerwiseSGD
from tests.models.networks import uncompiled

pytestmark = pytest.mark.every_backend


def two_layers():
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="first"),
            keras.layers.Dense(2, name="second"),
        ]
    )


def changes(optimizer, steps=3):
    """How far every weight moves in some steps on a fixed batch."""
    keras.utils.set_random_seed(0)
    model = two_layers()
    model.compile(optimizer, loss="mse")
    uncompiled(model)
    before = [ops.convert_to_numpy(w).copy() for w in model.weights]
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3))
    for _ in range(steps):
        model.train_on_batch(x, y[:, :2])
    return [ops.convert_to_numpy(w) - b for w, b in zip(model.weights, before, strict=True)]


def test_a_factor_scales_the_step_of_its_layer_only():
    plain = changes(LayerwiseSGD(0.1), steps=1)
    scaled = changes(LayerwiseSGD(0.1, rates={"first": 0.1}), steps=1)
    for a, b in zip(plain[:2], scaled[:2], strict=True):
        np.testing.assert_allclose(b, 0.1 * a, rtol=1e-3, atol=1e-7)
    for a, b in zip(plain[2:], scaled[2:], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"momentum": 0.9, "nesterov": True, "clipnorm": 0.1},
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "clipnorm": 100.0},
        {"clipnorm": 0.1},
    ],
)
def test_without_factors_it_is_sgd(arguments):
    for a, b in zip(
        changes(LayerwiseSGD(0.1, **arguments)),
        changes(keras.optimizers.SGD(0.1, **arguments)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the others fuse by themselves")
@pytest.mark.parametrize("arguments", [{}, {"nesterov": True}, {"clipnorm": 0.1}])
def test_tensorflow_takes_a_step_in_few_passes(arguments):
    """One operation updates the momentum and the weight, and clipping only looks at a gradient."""
    import tensorflow as tf

    optimizer = LayerwiseSGD(0.1, momentum=0.9, **arguments)
    variable = keras.Variable(np.zeros((2, 3), "float32"))
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    graph = step.get_concrete_function(tf.TensorSpec((2, 3))).graph
    types = [op.type for op in graph.get_operations()]
    assert types.count("ResourceApplyKerasMomentum") == 1
    assert types.count("L2Loss") == len(arguments.keys() & {"clipnorm"})
    assert not {"Square", "Sub"} & set(types)
    computed = [op for op in graph.get_operations() if op.outputs and op.type != "Placeholder"]
    large = [op.type for op in computed if op.outputs[0].shape == (2, 3)]
    assert set(large) <= {"Identity", "IdentityN"}, "the gradient is not copied, for clipping either"


@pytest.mark.parametrize("clipnorm", [0.1, 100.0])
def test_adamw_clips_as_in_keras(clipnorm):
    arguments = {"weight_decay": 0.0, "epsilon": 0.1, "clipnorm": clipnorm}
    for a, b in zip(
        changes(LayerwiseAdamW(0.1, **arguments)),
        changes(keras.optimizers.AdamW(0.1, **arguments)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_adamw_scales_the_step_of_its_layer_only():
    plain = changes(keras.optimizers.AdamW(0.1, weight_decay=0.0), steps=1)
    scaled = changes(LayerwiseAdamW(0.1, rates={"first": 0.1}, weight_decay=0.0), steps=1)
    for factor, a, b in zip((0.1, 0.1, 1.0, 1.0), plain, scaled, strict=True):
        np.testing.assert_allclose(b, factor * a, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("optimizer", [LayerwiseSGD, LayerwiseAdamW])
def test_kernels_decay_with_the_rate_of_their_layer(optimizer):
    """And biases do not, nor what is excluded by name. Keras' own decay would come on top."""
    options = {"rates": {"first": 0.5}}
    plain = changes(optimizer(0.1, weight_decay=0.0, **options), steps=1)
    decayed = changes(optimizer(0.1, weight_decay=0.2, **options), steps=1)
    keras.utils.set_random_seed(0)
    start = [ops.convert_to_numpy(w) for w in two_layers().weights]
    lost = [b - a for a, b in zip(plain, decayed, strict=True)]
    for factor, before, loss in zip((0.5, 0, 1, 0), start, lost, strict=True):
        np.testing.assert_allclose(loss, -0.1 * 0.2 * factor * before, rtol=1e-3, atol=1e-6)
    excluding = optimizer(0.1, weight_decay=0.2, **options)
    excluding.exclude_from_weight_decay(var_names=["kernel"])
    for a, b in zip(plain, changes(excluding, steps=1), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_only_kernels_decay():
    """Scales, offsets, slopes and biases do not, those of several axes neither."""
    x = inputs = keras.Input((2, 2, 4))
    x = keras.layers.LayerNormalization(axis=(1, 2, 3))(keras.layers.BatchNormalization()(x))
    x = keras.layers.MultiHeadAttention(2, 2)(*[keras.layers.Reshape((4, 4))(x)] * 2)
    x = keras.layers.PReLU()(keras.layers.Reshape((2, 2, 4))(x))
    model = keras.Model(inputs, SelfChannelInteraction(learnable_scale=True)(x))
    optimizer = LayerwiseSGD(0.1, weight_decay=0.2)
    optimizer.build(model.trainable_variables)
    decaying = [w for w in model.trainable_variables if optimizer.decays[variable_index(optimizer, w)]]
    assert [w.name for w in decaying] == ["kernel"] * 5  # of four projections, and φ's
    others = {w.name for w in model.trainable_variables} - {"kernel"}
    assert others == {"gamma", "beta", "bias", "alpha", "log_scale"}


def test_only_whole_parts_of_a_path_match_and_factors_multiply():
    none = changes(LayerwiseSGD(0.1, rates={"fir": 0.0}), steps=1)
    assert all(np.abs(change).max() > 0 for change in none)
    both = changes(LayerwiseSGD(0.1, rates={"first": 0.5, "kernel": 0.5}), steps=1)
    plain = changes(LayerwiseSGD(0.1), steps=1)
    for factor, a, b in zip((0.25, 0.5, 0.5, 1.0), plain, both, strict=True):
        np.testing.assert_allclose(b, factor * a, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("optimizer", "argument"), [(LayerwiseSGD, "momentum"), (LayerwiseAdamW, "weight_decay")]
)
def test_rates_survive_serialization(optimizer, argument):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    optimizer = optimizer(schedule, rates={"phi": 0.05}, **{argument: 0.9})
    config = keras.saving.serialize_keras_object(optimizer)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.rates == {"phi": 0.05} and getattr(copy, argument) == 0.9
    assert copy.get_config() == optimizer.get_config()


@pytest.mark.parametrize("factor", [-0.1, "small", float("inf")])
def test_wrong_factors_are_named(factor):
    with pytest.raises(ValueError, match="rates\\['phi'\\]"):
        LayerwiseSGD(0.1, rates={"phi": factor})


@pytest.mark.parametrize(
    "wrong", [{"weight_decay": "x"}, {"weight_decay": -1}, {"clipnorm": -1}, {"clipvalue": 0}]
)
def test_wrong_decay_and_clipping_are_named(wrong):
    (name,) = wrong
    for kind in (LayerwiseSGD, LayerwiseAdamW):
        with pytest.raises(ValueError, match=f"`{name}` must be a number"):
            kind(0.1, **wrong)


@pytest.mark.parametrize(("name", "advice"), [("phy", "did you mean 'phi'"), ("secon", "'second'")])
def test_a_name_that_matches_nothing_is_said(name, advice):
    with pytest.warns(UserWarning, match=f"rates\\['{name}'\\] changes nothing.*{advice}"):
        LayerwiseSGD(0.1, rates={name: 0.05}).build(two_layers().trainable_variables)


def test_phi_is_the_layers_of_this_package_alone():
    """A layer or a model of one's own may bear the name, and keeps the common rate."""
    interaction = SelfChannelInteraction()
    own = keras.layers.Conv2D(4, 1, name="phi")
    images = keras.Input((2, 2, 4))
    model = keras.Model(images, interaction(own(images)), name="psi")
    optimizer = LayerwiseSGD(0.1, rates={"phi": 0.25, "psi": 0.5})
    optimizer.build(model.trainable_variables)
    factors = dict(zip([w.path for w in model.trainable_variables], optimizer.factors, strict=True))
    for weight in own.weights:
        assert factors[weight.path] == 1
    for weight in interaction.phi.weights:
        assert factors[weight.path] == 0.25
    only = keras.Model(images, own(images))
    with pytest.warns(UserWarning, match="'phi'.*not for a layer of your own.*another name"):
        LayerwiseSGD(0.1, rates={"phi": 0.25}).build(only.trainable_variables)
