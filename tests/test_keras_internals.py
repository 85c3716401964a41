"""Every private name of Keras in use does what it is used for. Where one of these fails, Keras (or
KerasCV) has changed, and `cin_keras/keras_internals.py` must follow."""

import keras
import numpy as np
import pytest
from keras import ops

from cin_keras import keras_internals

pytestmark = pytest.mark.every_backend
BACKEND = keras.backend.backend()


class Nested(keras.layers.Layer):
    """A layer, no model, with layers in an attribute and in a list."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(2, name="first")
        self.others = [keras.layers.BatchNormalization(name="second")]

    def call(self, inputs):
        return self.others[0](self.first(inputs))


def test_all_layers_are_found_at_any_depth_once():
    inner = keras.Sequential([keras.Input((3,)), Nested()], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner], name="outer")
    found = [layer.name for layer in keras_internals.all_layers(model)]
    assert {"outer", "inner", "first", "second"} <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("training", [False, True])
def test_a_batch_normalisation_takes_other_moments_in_training(training):
    layer = keras.layers.BatchNormalization(epsilon=0.0, momentum=0.0)
    layer.build((None, 2))
    seen = []

    def moments(inputs, mask):
        seen.append(tuple(inputs.shape))
        return ops.convert_to_tensor([1.0, 2.0]), ops.convert_to_tensor([4.0, 9.0])

    keras_internals.replace_moments(layer, moments)
    outputs = ops.convert_to_numpy(layer(np.array([[3.0, 5.0]], "float32"), training=training))
    assert seen == ([(1, 2)] if training else [])
    np.testing.assert_allclose(outputs, [[1.0, 1.0]] if training else [[3.0, 5.0]])
    if training:
        np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_variance), [4.0, 9.0])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's optimizers sum gradients")
def test_an_optimizer_does_not_sum_gradients_over_replicas(monkeypatch):
    import tensorflow as tf

    def refuse(*args, **kwargs):
        raise AssertionError("summed")

    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build([variable])
    monkeypatch.setattr(tf.distribute.ReplicaContext, "all_reduce", refuse)
    with pytest.raises(AssertionError, match="summed"):
        optimizer.apply([tf.constant([1.0])])
    keras_internals.leave_gradients_unsummed(optimizer)
    optimizer.apply([tf.constant([1.0])])
    assert float(variable[0]) == 0.5


def test_variables_have_their_index_in_an_update_step():
    class Noting(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            noted.append(keras_internals.variable_index(self, variable))
            super().update_step(gradient, variable, learning_rate)

    noted = []
    optimizer = Noting(0.5)
    optimizer.build([keras.Variable([1.0]), keras.Variable([2.0]), keras.Variable([3.0])])
    optimizer.apply([ops.convert_to_tensor([1.0])] * 3)
    assert noted == [0, 1, 2]


def test_an_optimizer_decays_and_clips_in_its_own_way():
    class Own(keras_internals.OwnDecayAndClipping, keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(2 * self.clipnorm * gradient, variable, learning_rate)

    variable = keras.Variable([8.0])
    optimizer = Own(0.5, clipnorm=1.0, weight_decay=0.1)
    optimizer.build([variable])
    optimizer.apply([ops.convert_to_tensor([3.0])])
    assert float(variable[0]) == 8 - 0.5 * 6


@pytest.mark.skipif(BACKEND != "jax", reason="JAX' trainer takes the variables out of the model")
@pytest.mark.parametrize("put_back", [False, True])
def test_variables_are_put_back_after_a_step_that_failed(put_back):
    class Failing(keras.Sequential):
        def make_train_function(self, force=False):
            def fail(state, iterator):
                if put_back:
                    names = ("trainable_variables", "non_trainable_variables")
                    names += ("optimizer_variables", "metrics_variables")
                    keras_internals.put_back_jax_state(self, dict(zip(names, state, strict=True)))
                raise ArithmeticError

            self.train_function = fail

    model = Failing([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    before = ops.convert_to_numpy(model.weights[0])
    with pytest.raises(ArithmeticError):
        model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    if put_back:
        np.testing.assert_array_equal(ops.convert_to_numpy(model.weights[0]), before)
        model.evaluate(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    else:
        with pytest.raises(TypeError):  # Keras has begun to do it itself where this fails
            ops.convert_to_numpy(model.weights[0])


def test_the_global_generator_is_behind_random_numbers_without_a_seed():
    keras.utils.set_random_seed(1)
    generator = keras_internals.global_seed_generator(make=True)
    assert keras_internals.global_seed_generator(make=False) is generator
    state = ops.convert_to_numpy(generator.state).copy()
    first, second = (ops.convert_to_numpy(keras.random.uniform((4,))) for _ in range(2))
    generator.state.assign(state)
    np.testing.assert_array_equal(ops.convert_to_numpy(keras.random.uniform((4,))), first)
    assert np.abs(second - first).max() > 0


@pytest.mark.skipif(BACKEND != "tensorflow", reason="`tf.data` runs it, whatever the backend")
def test_all_random_numbers_of_randaugment_come_from_elsewhere():
    import keras_cv
    import tensorflow as tf

    class Generator:
        """Counts up, and keeps what was asked for."""

        def __init__(self):
            self.asked = []

        def uniform(self, shape, minval=0, maxval=1, dtype="float32"):
            self.asked.append("uniform")
            seed = (len(self.asked), self.start)
            return tf.random.stateless_uniform(shape, seed, minval, maxval, dtype)

        def normal(self, shape, mean=0.0, stddev=1.0, dtype="float32"):
            self.asked.append("normal")
            seed = (len(self.asked), self.start)
            return tf.random.stateless_normal(shape, seed, mean, stddev, dtype)

    class Factor(keras_cv.core.FactorSampler):
        def __call__(self, shape=(), dtype="float32"):
            return generator.uniform(shape, 0.0, 0.5, dtype)

    layer = keras_cv.layers.RandAugment(
        value_range=(0, 255), augmentations_per_image=2, magnitude=0.3, seed=0
    )
    generator, factors = Generator(), []

    def factor(sampler):
        factors.append(sampler)
        return Factor()

    keras_internals.replace_random_numbers(layer, generator, factor)
    assert len(layer.layers) >= 9 and len(factors) >= 9
    image = tf.cast(np.random.default_rng(0).integers(0, 256, (32, 32, 3)), "float32")
    outcomes = []
    for start in (*range(8), *range(8)):  # of these operations or those, twice
        generator.start, generator.asked = start, []
        outcomes.append(layer(image, training=True).numpy())
        assert len(generator.asked) >= 3
    np.testing.assert_array_equal(outcomes[:8], outcomes[8:])
    assert len(np.unique(np.reshape(outcomes[:8], (8, -1)), axis=0)) > 4


@pytest.mark.every_backend
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the padding of PyTorch")
@pytest.mark.parametrize("layer", ["convolution", "dilation", "depthwise", "pooling"])
def test_padding_in_a_graph_is_that_of_every_size(layer):
    import torch

    layer = {
        "convolution": keras.layers.Conv2D(4, (3, 2), strides=2, padding="same"),
        "dilation": keras.layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
        "depthwise": keras.layers.DepthwiseConv2D(5, strides=3, padding="same"),
        "pooling": keras.layers.MaxPooling2D(3, strides=2, padding="same"),
    }[layer]
    rng = np.random.default_rng(0)
    images = [
        ops.convert_to_tensor(rng.normal(size=(1, height, width, 3)), "float32")
        for height, width in ((32, 32), (31, 30), (20, 27), (7, 8))
    ]
    expected = [layer(image) for image in images]
    layer.eval()
    with torch.no_grad(), keras_internals.padding_in_graph():
        followed = torch.jit.trace(layer, (images[0],), check_trace=False)
    for image, result in zip(images, expected, strict=True):
        found = ops.convert_to_numpy(followed(image))
        np.testing.assert_allclose(found, ops.convert_to_numpy(result), rtol=1e-5, atol=1e-5)
