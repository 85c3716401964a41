"""Keras' own test of layers: configs, building, shapes, training, saving, mixed precision."""

import keras
import numpy as np
import pytest

from cin_keras import layers

# A private name of Keras, for this test alone: without it, the test is skipped and says so.
testing = pytest.importorskip("keras.src.testing")
pytestmark = pytest.mark.every_backend(all_cases=True)
MAP = (2, 3, 4, 4)
CASES = {
    "sci": (layers.SelfChannelInteraction, {"learnable_scale": True}, MAP, 3),
    "pooled": (layers.SelfChannelInteraction, {"pooling": "avg", "block_rows": 3}, (2, 4), 2),
    "phi": (layers.ResidualConvolution, {"kernel_size": (1, 3)}, MAP, 2),
    "non-local": (layers.NonLocalBlock, {"inner_channels": 2}, MAP, 7),
    "cgnl": (layers.CompactGeneralizedNonLocal, {"groups": 2}, MAP, 6),
    "osme": (layers.OneSqueezeMultiExcitation, {"units": 3}, (2, 2, 3), 12),
    "bilinear": (layers.BilinearPooling, {"projection_dim": 2}, (2, 4), 2),
}


class Harness(testing.TestCase):
    def runTest(self):
        pass


@pytest.mark.parametrize("name", CASES)
def test_as_keras_tests_its_layers(name):
    kind, options, output_shape, weights = CASES[name]
    Harness().run_layer_test(
        kind,
        options,
        input_shape=MAP,
        expected_output_shape=output_shape,
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
        expected_num_losses=0,
        supports_masking=False,
    )


def test_the_contrast_of_a_pair():
    interaction = layers.SelfChannelInteraction()
    Harness().run_layer_test(
        layers.ContrastiveChannelInteraction,
        {"interaction": interaction, "pooling": "avg"},
        input_data=tuple(keras.ops.ones(MAP) * np.float32(factor) for factor in (1, 2)),
        expected_output_shape=((2, 4), (2, 4)),
        expected_num_trainable_weights=4,
        supports_masking=False,
        # Its outputs are two, which Keras' check compiles one loss for; a shared layer makes
        # the copy of a copy another object.
        run_training_check=False,
    )
