import keras
import numpy as np
import pytest
from keras import ops

from cin_keras.layers.numerics import float32_matmul, softmax_rows, thin_matmul
from tests.gradients import gradients

pytestmark = pytest.mark.every_backend


@pytest.mark.parametrize("magnitude", [0.0, 1.0, 30.0, 1000.0])
def test_it_agrees_with_the_loop(magnitude):
    logits = (magnitude * np.random.default_rng(0).normal(size=(2, 7, 9))).astype("float32")
    weights = ops.convert_to_numpy(softmax_rows(ops.convert_to_tensor(logits)))
    for image in range(2):
        for row in range(7):
            powers = [
                np.exp(float(x) - float(logits[image, row].max())) for x in logits[image, row]
            ]
            np.testing.assert_allclose(
                weights[image, row], np.array(powers) / sum(powers), rtol=1e-4, atol=1e-15
            )


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others take them for zero")
def test_neither_weights_nor_gradients_are_denormal():
    import torch

    logits = torch.linspace(-200, 0, 1000).reshape(1, 1, -1).requires_grad_()
    weights = softmax_rows(logits)
    (gradient,) = torch.autograd.grad((1e-3 * weights * torch.arange(1000.0)).sum(), logits)
    for numbers in (weights, gradient):
        magnitudes = numbers.detach().abs()
        assert magnitudes[magnitudes > 0].min() > 1e-37
    assert torch.softmax(logits, -1).min() < 1e-37, "there would be denormal numbers"


def test_products_of_half_precision_are_exact():
    rng = np.random.default_rng(0)
    a, b = (ops.cast(rng.normal(size=shape), "bfloat16") for shape in ((2, 3, 5), (2, 5, 4)))
    a32, b32 = (ops.convert_to_numpy(ops.cast(x, "float32")).astype("float64") for x in (a, b))
    product = float32_matmul(a, b)
    assert keras.backend.standardize_dtype(product.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(product), a32 @ b32, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="how JAX is told")
def test_jax_is_told_to_keep_the_mantissa():
    import jax

    a = jax.numpy.ones((2, 2))
    told = str(jax.make_jaxpr(float32_matmul)(a, a))
    assert "HIGHEST" in told and "HIGHEST" not in str(jax.make_jaxpr(ops.matmul)(a, a))


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="how PyTorch is told")
@pytest.mark.parametrize("columns", [2, 3])
def test_pytorchs_own_precision_is_put_back(monkeypatch, columns):
    import torch

    told = []

    def matmul(a, b):
        told.append(torch.get_float32_matmul_precision())
        return a @ b

    monkeypatch.setattr(ops, "matmul", matmul)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        if columns == 2:
            float32_matmul(torch.ones((2, 2)), torch.ones((2, 2)))
        else:
            with pytest.raises(RuntimeError):
                float32_matmul(torch.ones((2, 3)), torch.ones((2, 2)))
        assert (told, torch.get_float32_matmul_precision()) == (["highest"], "medium")
    finally:
        torch.set_float32_matmul_precision(before)


class NoWeights:
    trainable_variables = ()


@pytest.mark.parametrize("shapes", [((2, 7, 5), (2, 5, 3)), ((3, 5), (5, 7)), ((4, 4), (4, 4))])
def test_a_thin_product_and_its_gradients_are_those_of_loops(shapes):
    rng = np.random.default_rng(0)
    a, b, upstream = (
        rng.normal(size=shape).astype("float32")
        for shape in (*shapes, (*shapes[0][:-1], shapes[1][-1]))
    )

    def total(a, b):
        return ops.sum(ops.multiply(upstream, thin_matmul(a, b)))

    def loop(a, b):
        *batch, rows, inner = a.shape
        product = np.zeros((*batch, rows, b.shape[-1]))
        for index in np.ndindex(product.shape):
            *image, row, column = index
            for k in range(inner):
                product[index] += a[(*image, row, k)] * b[(*image, k, column)]
        return product

    np.testing.assert_allclose(ops.convert_to_numpy(thin_matmul(a, b)), loop(a, b), rtol=1e-5)
    of_a, of_b = gradients(total, [a, b], NoWeights())
    np.testing.assert_allclose(of_a, loop(upstream, np.swapaxes(b, -1, -2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_b, loop(np.swapaxes(a, -1, -2), upstream), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="graphs of unknown sizes")
@pytest.mark.parametrize("shapes", [((None, 5), (5, 7)), ((None, 7, 5), (None, 5, None))])
def test_a_thin_product_of_unknown_size(shapes):
    import tensorflow as tf

    def gradients_of(product, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(product(*inputs) ** 2)
        return tape.gradient(total, inputs)

    graph = tf.function(
        lambda a, b: gradients_of(thin_matmul, a, b), [tf.TensorSpec(shape) for shape in shapes]
    )
    rng = np.random.default_rng(0)
    inputs = [
        tf.constant(rng.normal(size=[size or 3 for size in shape]).astype("float32"))
        for shape in shapes
    ]
    for found, expected in zip(graph(*inputs), gradients_of(tf.matmul, *inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
