import keras
import numpy as np
import pytest

from cin_keras.models import Whitening
from cin_keras.serving.folding import folded_inference
from tests.models.networks import pair_batch, tiny_cin

pytestmark = pytest.mark.every_backend


def scores(network, images):
    return keras.ops.convert_to_numpy(network(images.astype("float32"), training=False))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"interaction": "phi", "contrast": None},
        {"interaction": "pos_sci", "contrast": None, "dropout": 0.5},
        {"classifier_activation": "softmax", "contrast": None},
        {"block_rows": 2, "contrast": None, "similarity": "cosine"},
    ],
)
def test_the_same_scores_from_fewer_weights(options):
    model = tiny_cin(randomize=False, **options)
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    folded, images = folded_inference(model), pair_batch()[0][0]
    np.testing.assert_allclose(scores(folded, images), scores(model, images), rtol=1e-4, atol=1e-4)
    taps, channels, classes = 9, 4, 3
    (head,) = [layer for layer in folded.layers if layer not in model.layers]
    assert head.count_params() == (taps + 1) * channels * classes + classes
    assert folded.count_params() == model.backbone.count_params() + head.count_params()


def whitened(model, dimensions):
    rng = np.random.default_rng(4)
    model.whitening = Whitening(rng.normal(size=4), rng.normal(size=(4, dimensions)))
    return model


@pytest.mark.parametrize("classes, folds", [(2, True), (3, False)])
def test_whitened_embeddings_fold_with_the_scores(classes, folds):
    """Two scores and one number of an embedding are fewer than four channels, three and one not."""
    model = whitened(tiny_cin(classes, randomize=False), 1)
    rng = np.random.default_rng(3)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    folded, images = folded_inference(model, embeddings=True), pair_batch()[0][0]
    found = [keras.ops.convert_to_numpy(x) for x in folded(images.astype("float32"))]
    seen = keras.Model(model.input, model.dropout.output)
    np.testing.assert_allclose(found[0], scores(model, images), rtol=1e-4, atol=1e-4)
    expected = model.whitening(scores(seen, images))
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-4)
    assert (model.interaction in folded.layers) != folds


def test_without_a_whitening_the_mean_stays():
    model, images = tiny_cin(), pair_batch()[0][0]
    network = folded_inference(model, embeddings=True)
    assert network.layers == model.inference_layers
    mean = keras.ops.convert_to_numpy(network(images.astype("float32"))[1])
    np.testing.assert_allclose(
        mean @ model.classifier.get_weights()[0], scores(model, images), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    "options",
    [
        {"interaction": None},
        {"interaction": "squeeze_excite"},
        {"pooled": False},
        {"learnable_scale": True},
        {"num_classes": 4},
    ],
)
def test_what_has_nothing_to_fold_is_left_as_it_is(options):
    model = tiny_cin(contrast=None, randomize=False, **options)
    assert folded_inference(model).layers == model.inference_layers
