import dataclasses

import numpy as np
import pytest

from cin_keras.cli.predict import answer_of
from cin_keras.data import Samples
from cin_keras.data.hierarchy import check_hierarchy, group_probabilities, levels_of

NAMES = ["A4", "TT", "M3", "M5", "Z4"]
LEVELS = {
    "maker": ["VW", "VW", "BMW", "BMW", "BMW"],
    "series": ["A", "T", "M", "M", "Z"],
}


def test_sums_and_levels_are_those_of_loops():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.ones(5), 6)
    names, sums = group_probabilities(rows, LEVELS["series"])
    assert names == ("A", "T", "M", "Z")
    for row, found in zip(rows, sums):
        for name, total in zip(names, found):
            own = [p for p, group in zip(row, LEVELS["series"]) if group == name]
            assert total == pytest.approx(sum(own))
        levels = levels_of(row, LEVELS)
        assert list(levels) == ["maker", "series"]
        assert levels["series"]["probability"] == round(float(max(found)), 6)
        assert levels["series"]["class"] == names[found.argmax()]
    np.testing.assert_allclose(sums.sum(axis=1), 1)


@pytest.mark.parametrize(
    "probabilities, answers",
    [
        ([0.1, 0.0, 0.45, 0.45, 0.0], {0.8: "series", 0.9: "series", 0.95: None}),
        ([0.0, 0.1, 0.3, 0.3, 0.3], {0.6: "series", 0.7: "maker", 0.9: "maker", 1.0: None}),
    ],
)
def test_the_finest_level_that_is_sure_enough(probabilities, answers):
    probabilities, unsure = np.array(probabilities), {"probability": 0.0}
    for min_confidence, level in answers.items():
        answer = answer_of(probabilities, unsure, LEVELS, min_confidence)
        assert (answer and answer["level"]) == level
    assert answer_of(probabilities, unsure, None, 0.1) is None


@pytest.mark.parametrize(
    "hierarchy, words",
    [
        (["VW"] * 5, "must be a dict"),
        ({1: ["VW"] * 5}, "must be a dict"),
        ({"maker": ["VW"] * 4}, "each of the 5 classes. Received: 4"),
        ({"maker": "VVBBB"}, "must be a list"),
        (dict(reversed(LEVELS.items())), "from the coarsest to the finest.*'VW' in two of series"),
    ],
)
def test_what_is_no_hierarchy(hierarchy, words):
    with pytest.raises(ValueError, match=words):
        check_hierarchy(hierarchy, NAMES)
    with pytest.raises(ValueError, match=words):
        Samples(["1.jpg"], [0], NAMES, hierarchy=hierarchy)


def test_samples_keep_it():
    samples = Samples([f"{i}.jpg" for i in range(10)], [0, 1, 2, 3, 4] * 2, NAMES, hierarchy=LEVELS)
    expected = {level: tuple(groups) for level, groups in LEVELS.items()}
    for part in (samples.subset([3]), *samples.split(0.5), samples.limit(3), samples.join(samples)):
        assert part.hierarchy == expected
    few = samples.filter(["Z4", "A4"])
    assert few.class_names == ("A4", "Z4") and few.hierarchy["maker"] == ("VW", "BMW")
    assert samples.filter(["Z4"], renumber=False).hierarchy == expected
    assert samples.join(few).hierarchy == expected


def test_joined_with_others():
    levels = {"maker": ["BMW", "BMW"], "series": ["M", "X"]}
    samples = Samples(["1.jpg"], [0], NAMES, hierarchy=LEVELS)
    other = Samples(["2.jpg"], [1], ["M3", "X1"], hierarchy=levels)
    joined = samples.join(other)
    assert joined.class_names[-1] == "X1" and joined.hierarchy["series"][-1] == "X"
    wrong = dataclasses.replace(other, hierarchy={"maker": ["VW", "VW"], "series": ["M", "X"]})
    assert samples.join(wrong).hierarchy is None
    assert samples.join(dataclasses.replace(other, hierarchy=None)).hierarchy is None
