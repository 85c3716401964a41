import keras
import numpy as np
import pytest

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
