import keras
import numpy as np
import pytest

from cin_keras.explain import class_contrast, grad_cam
from tests.explain.networks import convolution, explained_cin, images_of
from tests.one_program import called
from tests.reference import assert_close

pytestmark = pytest.mark.every_backend


def expected_map(model, image, sign, step=1e-2):
    """Grad-CAM of `sign · logits` by central differences of the model's own head."""
    x = keras.ops.convert_to_numpy(model.backbone(image[None].astype("float32")))

    def score(maps):
        z = maps if model.interaction is None else called(model.interaction, maps)
        z = keras.ops.convert_to_numpy(z)
        pooled = z.mean(axis=(1, 2)) if z.ndim == 4 else z
        return pooled @ keras.ops.convert_to_numpy(model.classifier.kernel) @ sign

    # All neighbours in one batch: the score of each with one number moved.
    moves = step * np.eye(x.size, dtype="float32").reshape(-1, *x.shape[1:])
    slopes = (score(x + moves) - score(x - moves)) / (2 * step)
    alpha = slopes.reshape(x.shape).mean(axis=(0, 1, 2))
    return np.maximum(x[0] @ alpha, 0)


def test_against_differences():
    model, images = explained_cin("pos_sci", scale=0.1), images_of(2)
    own = grad_cam(model, images, classes=[1, 2])
    of_difference = grad_cam(model, images, classes=[1, 2], others=3)
    assert own.shape == (2, 4, 4) and own.dtype == np.float32
    for i, label in enumerate((1, 2)):
        sign = np.eye(4)[label]
        assert_close(own[i], expected_map(model, images[i], sign), relative=0.02, absolute=1e-3)
        sign = sign - np.eye(4)[3]
        expected = expected_map(model, images[i], sign)
        assert_close(of_difference[i], expected, relative=0.02, absolute=1e-3)


def test_without_an_interaction_the_difference_is_the_class_contrast():
    model, images = explained_cin(None), images_of()
    maps, classes, others, _ = class_contrast(model, images)
    expected = np.maximum(maps, 0) / 16
    assert_close(grad_cam(model, images, classes, others), expected)


@pytest.mark.every_backend(on_jax=False)
def test_predicted_classes_and_two_backbones():
    model = explained_cin("bilinear", second_backbone=convolution("second", channels=3))
    images = images_of()
    classes = keras.ops.convert_to_numpy(model(images)).argmax(axis=1)
    assert_close(grad_cam(model, images), grad_cam(model, images, classes))


def test_mistakes():
    model = explained_cin(None)
    with pytest.raises(ValueError, match="class 1 against itself for image 0"):
        grad_cam(model, images_of(), classes=1, others=1)
    with pytest.raises(ValueError, match="class 2 against itself for image 18"):
        grad_cam(model, images_of(20), classes=2, others=[1] * 18 + [2, 1])
    with pytest.raises(TypeError, match="cin_keras.CIN"):
        grad_cam(convolution(), images_of())


@pytest.mark.every_backend(on_jax=False)
def test_several_attentions_have_a_gradient_but_no_map():
    model, images = explained_cin("osme"), images_of(2)
    maps = grad_cam(model, images)
    assert maps.shape == (2, 4, 4) and np.isfinite(maps).all()
    with pytest.raises(ValueError, match="'osme' leaves none; use grad_cam"):
        class_contrast(model, images)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others always differentiate")
def test_where_pytorch_is_told_to_keep_no_gradients():
    import torch

    model, images = explained_cin("sci"), images_of(2)
    expected = grad_cam(model, images)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = grad_cam(model, images)
        assert_close(found, expected)
