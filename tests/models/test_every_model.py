"""Every model of the package through the one tester; the next model is one line here."""

import keras
import pytest

import cin_keras
from tests.models.networks import awake, tiny_backbone
from tests.models.tester import assert_usable

pytestmark = [pytest.mark.every_backend, pytest.mark.usefixtures("png_decoder")]
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
# CIN and the plain network are traced by tests of their own, all of NTS with the last of these.
UNTRACED = ("CIN", "plain", "NTS")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_usable(name, tmp_path):
    build, size, pairs = MODELS[name]
    traced = name not in UNTRACED
    assert_usable(lambda **own: awake(build(**own)), tmp_path, size, pairs, traced)


@pytest.mark.parametrize("base", [cin_keras.CIN, cin_keras.models.NTS])
def test_a_derived_class_may_have_a_constructor_of_its_own(tmp_path, base):
    @keras.saving.register_keras_serializable(package="tests")
    class Derived(base):
        def __init__(self, num_classes, note="none", **kwargs):
            super().__init__(num_classes, **kwargs)
            self.note = note

        def get_config(self):
            return {**super().get_config(), "note": self.note}

    model = Derived(3, note="mine", backbone=tiny_backbone(), input_shape=(8, 8, 3), alpha=0.5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.note, loaded.alpha, loaded.num_classes) == ("mine", 0.5, 3)
    assert type(loaded) is Derived and loaded.optimizer is not None
