import keras
import numpy as np
import pytest

from cin_keras.models.small_backbone import small_backbone
from tests.one_program import called

pytestmark = pytest.mark.every_backend


def test_features_and_dtype():
    backbone = small_backbone(48, dtype="mixed_bfloat16")
    features = called(backbone, np.zeros((2, 48, 48, 3), "float32"))
    assert tuple(features.shape) == (2, 3, 3, 256)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    assert all(weight.dtype == "float32" for weight in backbone.weights)
