import numpy as np
import pytest

import cin_keras
from cin_keras.data import differing_parts, drawn_cars
from cin_keras.explain import ChosenParts
from cin_keras.measuring import scored_parts
from cin_keras.measuring.explanations import Targets
from cin_keras.models.small_backbone import small_backbone


@pytest.fixture(scope="module")
def model():
    return cin_keras.NTS(
        12, small_backbone(32), None, (32, 32, 3), "block_3", parts=3, concatenated=2
    )


def test_middles_on_differing_parts_hit_and_others_do_not(model, monkeypatch):
    """An oracle in place of the Navigator: its first part lies on one that differs."""
    cars = drawn_cars("test", images_per_class=1, image_size=48)
    targets = Targets(cars, differing=differing_parts)
    seen = []

    def oracle(model, pictures):
        likely = np.argsort(-model.predict_on_batch(pictures), axis=1)[:, :2]
        centres = np.full((len(pictures), 3, 2), 0.01)
        for i, (a, b) in enumerate(likely):
            name = differing_parts(a, b)[0]
            left, top, right, bottom = np.array(cars.parts[len(seen)][name]) / 48
            seen.append(name)
            # Centre crop of 7/8, brought to 32 pixels.
            centres[i, 0] = [
                32 * ((c + d) / 2 - 1 / 16) * 8 / 7 for c, d in ((top, bottom), (left, right))
            ]
        return ChosenParts(None, None, centres)

    monkeypatch.setattr(scored_parts.explain, "chosen_parts", oracle)
    found = scored_parts.score_parts(model, cars, targets)
    assert all(len(values) == len(cars) == len(seen) for values in found.values())
    assert (found["best part"] == 1).all()
    assert (found["parts of the prediction"] == 0.5).all()
    assert (found["image"] < found["box"]).mean() > 0.9
    table = scored_parts.parts_table(found, "a differing part", "car")
    assert "| the best part | 100.0 % ± 0.0 |" in table and "12 of 12 images" in table


def test_the_navigator_s_own_parts_are_scored(model):
    cars = drawn_cars("test", images_per_class=1, image_size=48)
    found = scored_parts.score_parts(model, cars, Targets(cars, differing=differing_parts))
    assert all(((values >= 0) & (values <= 1)).all() for values in found.values())
