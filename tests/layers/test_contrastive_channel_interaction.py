import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers import ContrastiveChannelInteraction, SelfChannelInteraction
from tests import reference
from tests.gradients import gradients
from tests.one_program import called, one_program

pytestmark = pytest.mark.every_backend


def feature_pair(shape=(2, 3, 4, 5), seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape).astype("float32") for _ in range(2))


def make(interaction=None, **kwargs):
    interaction = interaction or SelfChannelInteraction(
        scale=0.5, bias_initializer="random_normal", dtype=kwargs.get("dtype")
    )
    return ContrastiveChannelInteraction(interaction, **kwargs)


def expected_outputs(layer, pair, flatten=False, phi=None, normalize=False):
    phi, psi = phi or layer.interaction.phi, layer.psi
    weights = [ops.convert_to_numpy(w) for w in (phi.kernel, phi.bias, psi.kernel, psi.bias)]
    maps = [
        reference.contrastive_channel_interaction(
            x_a, x_b, *weights, scale=0.5, flatten=flatten, normalize=normalize
        )
        for x_a, x_b in zip(*pair, strict=True)
    ]
    return [np.stack(z) for z in zip(*maps, strict=True)]


@pytest.mark.parametrize("descriptor", ["average", "flatten"])
@pytest.mark.parametrize("pooling", [None, "avg"])
def test_outputs_agree_with_the_loop(pooling, descriptor):
    pair = feature_pair()
    layer = make(pooling=pooling, descriptor=descriptor)
    layer.build([x.shape for x in pair])
    layer.psi.bias.assign([0.7])
    outputs = called(layer, pair)
    expected = expected_outputs(layer, pair, flatten=descriptor == "flatten")
    for z, z_expected in zip(outputs, expected, strict=True):
        z_expected = z_expected.mean(axis=(1, 2)) if pooling else z_expected
        reference.assert_close(ops.convert_to_numpy(z), z_expected)


@pytest.mark.parametrize("pooling", [None, "avg"])
@pytest.mark.parametrize("option", ["normalize_rows", "own_phi", "phi_gradient"])
def test_options_agree_with_the_loop(option, pooling):
    """Beside `Z'`, `Z` stays what the interaction makes; in blocks of rows it is the same."""
    pair = feature_pair()
    layer = make(pooling=pooling, **{option: option != "phi_gradient"})
    layer.build([x.shape for x in pair])
    layer.psi.bias.assign([0.7])
    own = layer.contrastive_phi.phi if option == "own_phi" else None
    if own is not None:
        shape = own.bias.shape
        own.bias.assign(np.random.default_rng(1).normal(size=shape))
        assert abs(ops.convert_to_numpy(own.kernel - layer.interaction.phi.kernel)).max() > 0.01
    expected = expected_outputs(layer, pair, phi=own, normalize=option == "normalize_rows")
    contrasted, plain = called(layer, pair, return_self_interaction=True)
    for z, alone, z_expected in zip(contrasted, called(layer, pair), expected, strict=True):
        z_expected = z_expected.mean(axis=(1, 2)) if pooling else z_expected
        reference.assert_close(ops.convert_to_numpy(z), z_expected)
        reference.assert_close(ops.convert_to_numpy(alone), z_expected)
    for z, x in zip(plain, pair, strict=True):
        z_expected = ops.convert_to_numpy(called(layer.interaction, x))
        z_expected = z_expected.mean(axis=(1, 2)) if pooling else z_expected
        reference.assert_close(ops.convert_to_numpy(z), z_expected)
    layer.interaction.block_rows = 2
    for z, z_expected in zip(called(layer, pair), contrasted, strict=True):
        reference.assert_close(ops.convert_to_numpy(z), ops.convert_to_numpy(z_expected))


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_the_gradient_is_kept_out_of_the_shared_phi(pooling):
    pair = feature_pair()
    layer = make(pooling=pooling, phi_gradient=False)
    layer.build([x.shape for x in pair])
    layer.psi.bias.assign([0.7])

    def of(contrasted, plain):
        def function(x_a, x_b):
            outputs = layer((x_a, x_b), return_self_interaction=True)
            factors = zip(outputs, (contrasted, plain), strict=True)
            return sum(factor * ops.sum(z**2) for pair, factor in factors for z in pair)

        found = gradients(function, pair, layer, compiled=False)[2:]
        names = ["/".join(weight.path.split("/")[-2:]) for weight in layer.trainable_variables]
        return {name: abs(gradient).max() for name, gradient in zip(names, found, strict=True)}

    contrasted, plain = of(1.0, 0.0), of(0.0, 1.0)
    assert contrasted["phi/kernel"] == contrasted["phi/bias"] == 0 < contrasted["psi/kernel"]
    assert plain["phi/kernel"] > 0 and plain["phi/bias"] > 0


def test_images_that_are_alike_leave_nothing_to_normalise():
    x, _ = feature_pair()
    layer = make(normalize_rows=True)
    layer.build([x.shape, x.shape])
    layer.psi.bias.assign([1.0])
    layer.psi.kernel.assign(0 * layer.psi.kernel)
    for z in called(layer, (x, x)):
        bias = ops.convert_to_numpy(layer.interaction.phi.bias)
        reference.assert_close(ops.convert_to_numpy(z), x + bias)


def test_a_phi_that_would_never_learn_is_refused():
    with pytest.raises(ValueError, match="own_phi=True with phi_gradient=False"):
        make(own_phi=True, phi_gradient=False)


def assert_same(layer, other, pair, compiled=False):
    """Same spatial means of all outputs, same gradients by inputs and weights."""
    for built in (layer, other):
        built.build([x.shape for x in pair])
        built.psi.bias.assign([0.7])
    other.set_weights(layer.get_weights())
    rng = np.random.default_rng(5)
    factors = [rng.normal(size=(x.shape[0], x.shape[-1])).astype("float32") for x in 2 * pair]

    def means(form, x_a, x_b):
        contrasted, plain = form((x_a, x_b), return_self_interaction=True)
        outputs = [*contrasted, *plain]
        return [ops.mean(z, axis=(1, 2)) if len(z.shape) == 4 else z for z in outputs]

    both = (one_program(lambda *x, form=form: means(form, *x))(*pair) for form in (layer, other))
    for z, z_other in zip(*both, strict=True):
        reference.assert_close(ops.convert_to_numpy(z_other), ops.convert_to_numpy(z))

    def scalar(form):
        return lambda *x: sum(
            ops.sum(ops.multiply(z, factor))
            for z, factor in zip(means(form, *x), factors, strict=True)
        )

    expected = gradients(scalar(layer), list(pair), layer, compiled=False)
    found = gradients(scalar(other), list(pair), other, compiled)
    assert len(found) == 6, "by both inputs, φ's kernel and bias, ψ's kernel and bias"
    for gradient, gradient_other in zip(expected, found, strict=True):
        reference.assert_close(gradient_other, gradient)


@pytest.mark.parametrize(
    ("size", "kernel_size"), [((4, 4), 1), ((4, 4), 3), ((3, 5), 5), ((1, 1), 3)]
)
def test_the_pooled_form_has_the_gradients_of_the_long_one(size, kernel_size):
    def form(pooling):
        interaction = SelfChannelInteraction(scale=0.5, kernel_size=kernel_size)
        return make(interaction, pooling=pooling)

    assert_same(form(None), form("avg"), feature_pair((2, *size, 5)))


@pytest.mark.parametrize(
    ("block_rows", "pooling", "descriptor", "compiled"),
    [  # What is mapped over blocks is a loop in a graph alone.
        (2, None, "average", True),
        (2, None, "flatten", False),
        (2, "avg", "average", False),
        (2, "avg", "flatten", True),
        (100, "avg", "average", False),
    ],
)
def test_blocks_of_rows_change_nothing(block_rows, pooling, descriptor, compiled):
    def form(block_rows):
        interaction = SelfChannelInteraction(scale=0.5, block_rows=block_rows)
        return make(interaction, pooling=pooling, descriptor=descriptor)

    assert_same(form(None), form(block_rows), feature_pair(), compiled)


def test_swapping_the_images_swaps_the_outputs():
    x_a, x_b = feature_pair()
    layer = make(pooling="avg")
    z_a, z_b = called(layer, (x_a, x_b))
    swapped_b, swapped_a = called(layer, (x_b, x_a))
    reference.assert_close(ops.convert_to_numpy(swapped_a), ops.convert_to_numpy(z_a))
    reference.assert_close(ops.convert_to_numpy(swapped_b), ops.convert_to_numpy(z_b))
    assert np.abs(ops.convert_to_numpy(z_a) - ops.convert_to_numpy(z_b)).max() > 0.01


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_the_self_interaction_comes_along(pooling):
    pair = feature_pair()
    layer = make(pooling=pooling)
    contrasted, plain = called(layer, pair, return_self_interaction=True)
    own = SelfChannelInteraction(scale=0.5, pooling=pooling)
    own.build(pair[0].shape)
    own.set_weights(layer.interaction.get_weights())
    expected = [*called(layer, pair), *(called(own, x) for x in pair)]
    for z, z_expected in zip([*contrasted, *plain], expected, strict=True):
        reference.assert_close(ops.convert_to_numpy(z), ops.convert_to_numpy(z_expected))


def test_without_contrast_it_is_the_plain_interaction():
    x_a, x_b = feature_pair()
    layer = make(kernel_initializer="zeros")
    z_a, _ = called(layer, (x_a, x_b))
    plain = called(layer.interaction, x_a)
    reference.assert_close(ops.convert_to_numpy(z_a), ops.convert_to_numpy(plain))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    pair = feature_pair()
    full, half = make(pooling="avg"), make(pooling="avg", dtype=policy)
    expected = called(full, pair)
    half.build([x.shape for x in pair])
    half.set_weights(full.get_weights())
    compute_dtype = keras.DTypePolicy(policy).compute_dtype
    for z, z_expected in zip(called(half, pair), expected, strict=True):
        assert keras.backend.standardize_dtype(z.dtype) == compute_dtype
        z = ops.convert_to_numpy(ops.cast(z, "float32"))
        reference.assert_close(z, ops.convert_to_numpy(z_expected), relative=0.05)


def test_unknown_sizes_and_sharing_survive_saving(tmp_path):
    inputs = [keras.Input((None, None, 5)) for _ in range(2)]
    interaction = SelfChannelInteraction(scale=0.5)
    outputs = make(interaction)(inputs)
    assert [z.shape for z in outputs] == [(None, None, None, 5)] * 2
    model = keras.Model(inputs, [interaction(inputs[0]), *outputs])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    pair = list(feature_pair())
    before, after = model.predict(pair, verbose=0), loaded.predict(pair, verbose=0)
    for z, z_loaded in zip(before, after, strict=True):
        np.testing.assert_allclose(z, z_loaded, rtol=1e-5, atol=1e-6)
    assert len(loaded.weights) == 4, "φ's kernel and bias once, ψ's kernel and bias"


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (feature_pair((2, 3, 4, 5)) + feature_pair((2, 3, 4, 5)), "pair of feature maps"),
        ((np.zeros((2, 5)), np.zeros((2, 5))), "takes a feature map of shape"),
        ((np.zeros((2, 3, 4, 5)), np.zeros((2, 4, 4, 5))), "one shape.*x_a.*x_b"),
        ((np.zeros((2, 3, 4, 5)), np.zeros((1, 3, 4, 5))), "one shape"),
    ],
)
def test_wrong_inputs_are_named(pair, message):
    with pytest.raises(ValueError, match=message):
        make()(pair)


def test_one_symbolic_map_is_no_pair():
    layer = make()
    layer(feature_pair())
    with pytest.raises(ValueError, match="pair of feature maps"):
        layer(keras.Input((3, 4, 5)))


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="SelfChannelInteraction.*Received: interaction=3"):
        ContrastiveChannelInteraction(3)
    with pytest.raises(ValueError, match="descriptor='max'"):
        make(descriptor="max")
    with pytest.raises(ValueError, match="fixed input size"):
        make(descriptor="flatten")([keras.Input((None, 4, 5)), keras.Input((None, 4, 5))])
    with pytest.raises(ValueError, match="number of channels"):
        make()([keras.Input((4, 4, None)), keras.Input((4, 4, None))])
