"""Every model of the package through the one tester; the next model is one line here."""

import pytest

import cin_keras
from tests.models.networks import awake
from tests.models.tester import assert_usable

pytestmark = pytest.mark.every_backend
FEW_PARTS = {"parts": 2, "concatenated": 1}
MODELS = {
    "CIN": (lambda **own: cin_keras.CIN(3, embedding_dim=5, **own), 8, True),
    "plain": (lambda **own: cin_keras.CIN(3, interaction=None, contrast=None, **own), 8, False),
    "NTS": (lambda **own: cin_keras.NTS(3, dropout=0.0, **FEW_PARTS, **own), 16, False),
    "NTS+CIN": (
        lambda **own: cin_keras.NTS(
            3, dropout=0.0, interaction="sci", contrast="cci", **FEW_PARTS, **own
        ),
        16,
        True,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_usable(name, tmp_path):
    build, size, pairs = MODELS[name]
    assert_usable(lambda **own: awake(build(**own)), tmp_path, size, pairs)
