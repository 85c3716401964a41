import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import SelfChannelInteraction
from tests import reference
from tests.gradients import gradients
from tests.one_program import called, one_program

pytestmark = pytest.mark.every_backend
CHANNELS_FIRST = pytest.param(
    "channels_first",
    marks=pytest.mark.skipif(
        keras.backend.backend() == "tensorflow",
        reason="TensorFlow has no channels_first convolution on CPU",
    ),
)


def feature_map(shape=(2, 4, 5, 6), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def make(seed=1, **kwargs):
    return SelfChannelInteraction(
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.2, seed=seed),
        bias_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=seed + 1),
        **kwargs,
    )


def to_format(x, data_format):
    return x if data_format == "channels_last" else np.moveaxis(x, -1, 1).copy()


def from_format(x, data_format):
    x = ops.convert_to_numpy(x)
    return x if data_format == "channels_last" or x.ndim < 4 else np.moveaxis(x, 1, -1)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_weights_and_mixture_agree_with_the_loop(scale, positive):
    x = feature_map()
    layer = make(scale=scale, positive=positive)
    weights = one_program(layer.interaction_weights)(x)
    expected = np.stack([reference.interaction_weights(m, scale, positive) for m in x])
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    reference.assert_close(ops.convert_to_numpy(weights), expected)
    mixed = layer.mix(weights, ops.convert_to_tensor(x))
    expected = np.stack([reference.mix(w, m) for w, m in zip(expected, x, strict=True)])
    reference.assert_close(ops.convert_to_numpy(mixed), expected)


@pytest.mark.parametrize("data_format", ["channels_last", CHANNELS_FIRST])
@pytest.mark.parametrize(
    ("size", "kernel_size"),
    [
        *(((4, 6), kernel_size) for kernel_size in (1, 3, 5, 2, (3, 5))),
        ((3, 5), 3),
        ((3, 5), 2),
        ((1, 1), 3),
        ((1, 1), (3, 5)),
    ],
)
def test_both_forms_agree_with_the_loop(size, kernel_size, data_format):
    x = feature_map((2, *size, 4))
    long = make(kernel_size=kernel_size, data_format=data_format)
    pooled = make(kernel_size=kernel_size, data_format=data_format, pooling="avg")
    z = from_format(called(long, to_format(x, data_format)), data_format)
    kernel, bias = (ops.convert_to_numpy(w) for w in (long.phi.kernel, long.phi.bias))
    pooled.build(to_format(x, data_format).shape)
    pooled.set_weights(long.get_weights())
    expected = np.stack(
        [reference.self_channel_interaction(m.astype("float64"), kernel, bias) for m in x]
    )
    reference.assert_close(z, expected)
    mean = ops.convert_to_numpy(called(pooled, to_format(x, data_format)))
    reference.assert_close(mean, expected.mean(axis=(1, 2)))


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("similarity", ["dot", "cosine", "correlation"])
def test_every_similarity_agrees_with_the_loop(similarity, positive):
    x = feature_map()
    x[0, :, :, 2] = 0.0
    x[1, :, :, 3] = 0.7
    options = {"scale": 1.5, "similarity": similarity, "positive": positive}
    long, pooled = make(**options), make(**options, pooling="avg")
    z = ops.convert_to_numpy(called(long, x))
    pooled.build(x.shape)
    pooled.set_weights(long.get_weights())
    kernel, bias = (ops.convert_to_numpy(w) for w in (long.phi.kernel, long.phi.bias))
    arguments = (kernel, bias, 1.5, positive, similarity)
    expected = np.stack(
        [reference.self_channel_interaction(m.astype("float64"), *arguments) for m in x]
    )
    reference.assert_close(z, expected)
    reference.assert_close(ops.convert_to_numpy(called(pooled, x)), expected.mean(axis=(1, 2)))
    weights = ops.convert_to_numpy(long.interaction_weights(x))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)


def test_correlation_ignores_the_size_and_offset_of_a_channel():
    x = feature_map()
    layer = make(similarity="correlation", scale=5.0)
    changed = x * np.linspace(0.5, 3, x.shape[-1], dtype="float32") + 2.0
    weights = one_program(layer.interaction_weights)
    expected = ops.convert_to_numpy(weights(x))
    reference.assert_close(ops.convert_to_numpy(weights(changed)), expected)
    assert np.abs(expected - 1 / x.shape[-1]).max() > 0.1


@pytest.mark.parametrize("similarity", ["cosine", "correlation"])
def test_the_gradient_of_a_silent_channel_is_finite(similarity):
    x = feature_map()
    x[:, :, :, 1] = 0.0
    layer = make(similarity=similarity, scale=5.0)
    layer.build(x.shape)
    for gradient in gradients(lambda x: weighted_sum(layer(x)), [x], layer, compiled=False):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("block_rows", [None, 4])
@pytest.mark.parametrize("pooling", [None, "avg"])
@pytest.mark.parametrize("similarity", ["dot", "correlation"])
def test_a_learned_scale_gets_the_gradient_of_the_loop(similarity, pooling, block_rows):
    x = feature_map()
    layer = make(
        scale=0.5,
        learnable_scale=True,
        similarity=similarity,
        pooling=pooling,
        block_rows=block_rows,
    )
    layer.build(x.shape)
    assert len(layer.trainable_weights) == 3
    kernel, bias = (ops.convert_to_numpy(w) for w in (layer.phi.kernel, layer.phi.bias))
    factors = np.random.default_rng(4).normal(size=(len(x), x.shape[-1]))

    def loss(log_scale):
        maps = [
            reference.self_channel_interaction(
                m.astype("float64"), kernel, bias, np.exp(log_scale), similarity=similarity
            )
            for m in x
        ]
        return np.sum(np.stack(maps).mean(axis=(1, 2)) * factors)

    step = 1e-5
    expected = (loss(np.log(0.5) + step) - loss(np.log(0.5) - step)) / (2 * step)

    def outputs(x):
        z = layer(x)
        z = ops.mean(z, axis=(1, 2)) if pooling is None else z
        return ops.sum(ops.multiply(z, factors.astype("float32")))

    found = gradients(outputs, [x], layer, compiled=False)
    position = 1 + [w.path.endswith("log_scale") for w in layer.trainable_weights].index(True)
    assert abs(expected) > 1e-3
    assert float(found[position]) == pytest.approx(expected, rel=1e-3)
    copy = SelfChannelInteraction.from_config(layer.get_config())
    assert copy.learnable_scale is True and copy.similarity == similarity


def weighted_sum(outputs):
    """A scalar that depends on every output differently."""
    outputs = ops.cast(outputs, "float32")
    size = int(np.prod(outputs.shape))
    factors = np.cos(np.arange(size)).astype("float32").reshape(tuple(outputs.shape))
    return ops.sum(ops.multiply(outputs, factors))


def assert_same(layer, other, x):
    """Same outputs, and same gradients with respect to input and weights."""
    for built in (layer, other):
        built.build(x.shape)
    other.set_weights(layer.get_weights())

    def mean(z):
        return z if len(z.shape) == 2 else ops.mean(z, axis=spatial_axes(layer.data_format))

    z, z_other = (
        ops.convert_to_numpy(one_program(lambda x, form=form: mean(form(x)))(x))
        for form in (layer, other)
    )
    reference.assert_close(z_other, z)
    expected, found = (
        # What is mapped over blocks is a loop in a graph alone.
        gradients(
            lambda x, form=form: weighted_sum(mean(form(x))),
            [x],
            form,
            compiled=form.block_rows == 4,
        )
        for form in (layer, other)
    )
    assert len(found) == 3, "by the input, φ's kernel and φ's bias"
    for gradient, gradient_other in zip(expected, found, strict=True):
        reference.assert_close(gradient_other, gradient)


def spatial_axes(data_format):
    return (1, 2) if data_format == "channels_last" else (2, 3)


@pytest.mark.parametrize("data_format", ["channels_last", CHANNELS_FIRST])
@pytest.mark.parametrize(
    ("size", "kernel_size"), [((4, 6), 1), ((4, 6), 3), ((3, 5), 5), ((1, 1), 3)]
)
def test_the_pooled_form_has_the_gradients_of_the_long_one(size, kernel_size, data_format):
    x = to_format(feature_map((2, *size, 4)), data_format)
    options = {"kernel_size": kernel_size, "data_format": data_format, "scale": 0.5}
    assert_same(make(**options), make(**options, pooling="avg"), x)


@pytest.mark.parametrize("block_rows", [None, 4])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_pooled_form_needs_no_channels_first_convolution(kernel_size, block_rows):
    x = feature_map((2, 3, 4, 6))
    options = {"kernel_size": kernel_size, "block_rows": block_rows, "pooling": "avg", "scale": 0.5}
    last, first = (make(**options, data_format=f"channels_{end}") for end in ("last", "first"))
    moved = to_format(x, "channels_first")
    last.build(x.shape)
    first.build(moved.shape)
    first.set_weights(last.get_weights())
    outputs = (ops.convert_to_numpy(called(*form)) for form in ((first, moved), (last, x)))
    reference.assert_close(*outputs)
    expected = gradients(lambda x: weighted_sum(last(x)), [x], last, compiled=False)
    found = gradients(lambda x: weighted_sum(first(x)), [moved], first, compiled=False)
    found[0] = np.moveaxis(found[0], 1, -1)
    for gradient, gradient_first in zip(expected, found, strict=True):
        reference.assert_close(gradient_first, gradient)


@pytest.mark.parametrize("data_format", ["channels_last", CHANNELS_FIRST])
@pytest.mark.parametrize("pooling", [None, "avg"])
@pytest.mark.parametrize("block_rows", [1, 4, 100])
def test_blocks_of_rows_change_nothing(block_rows, pooling, data_format):
    x = to_format(feature_map(), data_format)
    options = {"pooling": pooling, "data_format": data_format, "scale": 0.5}
    assert_same(make(**options), make(**options, block_rows=block_rows), x)


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_blocks_of_rows_take_any_size(pooling):
    inputs = keras.Input((None, None, 6))
    blocks, whole = (make(pooling=pooling, block_rows=rows) for rows in (4, None))
    model = keras.Model(inputs, [blocks(inputs), whole(inputs)])
    whole.set_weights(blocks.get_weights())
    for shape in ((2, 4, 5, 6), (3, 2, 7, 6)):
        z, z_whole = model.predict(feature_map(shape), verbose=0)
        reference.assert_close(z, z_whole)


def test_a_wide_kernel_on_a_narrow_map():
    x = feature_map((1, 2, 1, 3))
    long, pooled = make(kernel_size=7), make(kernel_size=7, pooling="avg")
    z = ops.convert_to_numpy(called(long, x))
    pooled.build(x.shape)
    pooled.set_weights(long.get_weights())
    reference.assert_close(ops.convert_to_numpy(called(pooled, x)), z.mean(axis=(1, 2)))


def test_rows_of_the_weights_sum_to_one_at_any_magnitude():
    layer = make()
    layer.build((2, 7, 7, 16))
    for magnitude in (0.0, 1.0, 1000.0):
        x = magnitude * np.abs(feature_map((2, 7, 7, 16)))
        weights = ops.convert_to_numpy(one_program(layer.interaction_weights)(x))
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)


def test_the_sign_prefers_complementary_channels():
    x = np.zeros((1, 2, 2, 3), "float32")
    x[0, :, :, 0] = [[2, 0], [0, 0]]
    x[0, :, :, 1] = [[2, 0], [0, 0]]
    x[0, :, :, 2] = [[0, 0], [0, 2]]
    complementary, alike = make(), make(positive=True)
    for layer in (complementary, alike):
        layer.build(x.shape)
    assert ops.convert_to_numpy(complementary.interaction_weights(x))[0, 0].argmax() == 2
    assert ops.convert_to_numpy(alike.interaction_weights(x))[0, 0].argmax() in (0, 1)


def test_permuted_channels_permute_weights_and_mixture():
    x = feature_map()
    order = np.random.default_rng(3).permutation(x.shape[-1])
    layer = make()
    layer.build(x.shape)
    weights = layer.interaction_weights(x)
    permuted = layer.interaction_weights(x[..., order])
    expected = ops.convert_to_numpy(weights)[:, order][:, :, order]
    reference.assert_close(ops.convert_to_numpy(permuted), expected)
    mixed = ops.convert_to_numpy(layer.mix(weights, ops.convert_to_tensor(x)))
    mixed_permuted = layer.mix(permuted, ops.convert_to_tensor(x[..., order]))
    reference.assert_close(ops.convert_to_numpy(mixed_permuted), mixed[..., order])


@pytest.mark.parametrize("pooling", [None, "avg"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_the_weights_in_float32(policy, pooling):
    x = feature_map()
    full = make(pooling=pooling)
    expected, expected_weights = full(x, return_interaction_weights=True)
    layer = make(pooling=pooling, dtype=policy)
    layer.build(x.shape)
    layer.set_weights(full.get_weights())
    compute_dtype = keras.DTypePolicy(policy).compute_dtype
    outputs, weights = layer(x, return_interaction_weights=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == compute_dtype
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(weights).sum(axis=-1), 1.0, rtol=1e-5)
    rounding = 0.05 if policy == "mixed_bfloat16" else 0.01
    reference.assert_close(
        ops.convert_to_numpy(ops.cast(outputs, "float32")),
        ops.convert_to_numpy(expected),
        relative=rounding,
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("positive", [False, True])
def test_half_precision_has_the_weights_of_its_float32_copy(policy, positive):
    half = policy.removeprefix("mixed_")
    rng = np.random.default_rng(6)
    features = ops.cast(rng.uniform(0, 3, (2, 4, 5, 8)).astype("float32"), half)
    layer = SelfChannelInteraction(positive=positive, dtype=policy)
    exact = SelfChannelInteraction(positive=positive, dtype="float32")
    weights = layer.interaction_weights(features)
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    expected = exact.interaction_weights(ops.cast(features, "float32"))
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (weights, expected)), rtol=2e-5)


def test_whole_numbers_have_the_weights_of_their_float32_copy():
    features = np.random.default_rng(6).integers(0, 4, (2, 4, 5, 8))
    layer = SelfChannelInteraction()
    expected = ops.convert_to_numpy(layer.interaction_weights(features.astype("float32")))
    for dtype in ("uint8", "int8", "int32"):
        weights = layer.interaction_weights(features.astype(dtype))
        np.testing.assert_allclose(ops.convert_to_numpy(weights), expected, rtol=2e-5, err_msg=dtype)


def test_large_features_do_not_overflow_in_half_precision():
    x = 100.0 * np.abs(feature_map((1, 14, 14, 8)))
    outputs = called(make(pooling="avg", dtype="mixed_float16"), x)
    assert np.isfinite(ops.convert_to_numpy(outputs)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_no_feature_is_too_large_for_the_logits(dtype):
    x = ops.cast(6e4 * np.abs(np.sin(np.arange(2 * 49 * 16.0))).reshape(2, 7, 7, 16), dtype)
    layer = make(pooling="avg", dtype=f"mixed_{dtype}")
    layer.build(x.shape)
    weights = ops.convert_to_numpy(layer.interaction_weights(x))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_unknown_sizes_and_symbolic_shapes(pooling):
    inputs = keras.Input((None, None, 6))
    outputs, weights = make(pooling=pooling)(inputs, return_interaction_weights=True)
    assert outputs.shape == ((None, 6) if pooling else (None, None, None, 6))
    assert weights.shape == (None, 6, 6) and weights.dtype == "float32"
    model = keras.Model(inputs, [outputs, weights])
    for shape in ((2, 4, 5, 6), (3, 2, 7, 6)):
        x = feature_map(shape)
        result, _ = model(x)
        assert tuple(result.shape) == ((shape[0], 6) if pooling else shape)
        expected = np.stack(
            [
                reference.self_channel_interaction(
                    m, *(ops.convert_to_numpy(w) for w in model.trainable_variables)
                )
                for m in x
            ]
        )
        expected = expected.mean(axis=(1, 2)) if pooling else expected
        reference.assert_close(ops.convert_to_numpy(result), expected)


def test_symbolic_weights_of_unknown_size():
    inputs = keras.Input((None, None, 6))
    layer = make()
    model = keras.Model(inputs, layer.interaction_weights(inputs))
    x = feature_map()
    reference.assert_close(
        ops.convert_to_numpy(model(x)), ops.convert_to_numpy(layer.interaction_weights(x))
    )


def test_the_output_spec_follows_the_dtype_policy():
    layer = make(pooling="avg", dtype="mixed_bfloat16")
    spec = layer.compute_output_spec(keras.KerasTensor((None, 4, 4, 6)))
    assert spec.shape == (None, 6) and spec.dtype == "bfloat16"


def test_a_model_with_the_layer_survives_saving(tmp_path):
    inputs = keras.Input((4, 5, 6))
    layer = make(scale=0.3, positive=True, pooling="avg", kernel_size=(3, 5), block_rows=4)
    layer.kernel_regularizer = keras.regularizers.L2(0.01)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = feature_map()
    np.testing.assert_allclose(model.predict(x, verbose=0), loaded.predict(x, verbose=0), rtol=1e-6)
    assert len(loaded.losses) == 1
    assert loaded.layers[-1].block_rows == 4


def test_half_precision_survives_its_config():
    layer = SelfChannelInteraction.from_config(make(dtype="mixed_float16").get_config())
    layer.build((None, 4, 4, 6))
    assert layer.phi.compute_dtype == "float16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale=0"),
        ({"scale": float("nan")}, "scale=nan"),
        ({"pooling": "max"}, "pooling='max'"),
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"block_rows": 0}, "block_rows=0"),
        ({"block_rows": 2.5}, "block_rows=2.5"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size"),
        ({"data_format": "last"}, "data_format='last'"),
        ({"similarity": "euclid"}, "similarity='euclid'"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SelfChannelInteraction(**arguments)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match=r"takes a feature map of shape .*\(2, 6\)"):
        make()(np.zeros((2, 6), "float32"))
    with pytest.raises(ValueError, match="number of channels"):
        make()(keras.Input((4, 4, None)))
    layer = make()
    layer(feature_map())
    with pytest.raises(ValueError, match="6"):
        layer(feature_map((2, 4, 5, 7)))
