import numpy as np
import pytest
from scipy.special import softmax

from cin_keras.evaluation.calibration import (
    answered,
    as_logits,
    calibrated,
    expected_calibration_error,
    fit_temperature,
    reliability,
    uncalibrated,
)


def drawn(temperature, images=4000, classes=7, seed=0):
    """Labels that are drawn with the probabilities softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(images, classes))
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(axis=1) > rng.random((images, 1))).argmax(axis=1)
    return labels, logits


def ece_by_loops(labels, probabilities, bins):
    total, n = 0.0, len(labels)
    for i in range(bins):
        own = []
        for label, row in zip(labels, probabilities):
            confidence = max(row)
            if i / bins <= confidence < (i + 1) / bins or i == bins - 1 and confidence == 1:
                own.append((confidence, list(row).index(confidence) == label))
        if own:
            mean, right = (sum(each[k] for each in own) / len(own) for k in (0, 1))
            total += len(own) / n * abs(mean - right)
    return total


@pytest.mark.parametrize("bins", [1, 10, 16])
def test_the_error_is_that_of_loops(bins):
    labels, logits = drawn(1.0, images=200)
    probabilities = softmax(2 * logits, axis=1)
    probabilities[0] = np.eye(7)[3]  # certain: the end of the last bin
    expected = ece_by_loops(labels, probabilities, bins)
    assert expected_calibration_error(labels, probabilities, bins) == pytest.approx(expected)
    assert expected > 0.01


def test_certain_and_right_is_perfect_and_certain_and_wrong_is_the_worst():
    certain = np.eye(3)[[0, 1, 2]]
    assert expected_calibration_error([0, 1, 2], certain) == 0
    assert expected_calibration_error([1, 2, 0], certain) == 1


def test_the_rows_of_the_diagram_count_every_image_once():
    labels, logits = drawn(1.0, images=300)
    rows = reliability(labels, softmax(logits, axis=1), bins=5)
    assert [row["low"] for row in rows] == [0, 0.2, 0.4, 0.6, 0.8]
    assert sum(row["images"] for row in rows) == 300
    for row in rows:
        if row["images"]:
            assert row["low"] <= row["confidence"] <= row["high"]
        else:
            assert row["confidence"] is row["accuracy"] is None
    right = sum(row["images"] * row["accuracy"] for row in rows if row["images"])
    assert right == pytest.approx((logits.argmax(axis=1) == labels).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    labels, logits = drawn(temperature)
    found = fit_temperature(labels, logits)
    assert found == pytest.approx(temperature, rel=0.05)
    before = expected_calibration_error(labels, softmax(logits, axis=1))
    after = expected_calibration_error(labels, calibrated(logits, found))
    assert after < 0.03
    assert temperature == 1 or after < before / 3


def test_the_temperature_has_the_lowest_loss_of_a_grid():
    labels, logits = drawn(2.0, images=50)

    def loss(temperature):
        chances = softmax(logits / temperature, axis=1)
        likely = [-np.log(row[label]) for label, row in zip(labels, chances)]
        return sum(likely) + np.mean([np.mean(-np.log(row)) for row in chances])

    grid = np.geomspace(0.2, 20, 2001)
    best = grid[np.argmin([loss(temperature) for temperature in grid])]
    assert fit_temperature(labels, logits) == pytest.approx(best, rel=5e-3)


def test_what_cannot_matter_does_not():
    labels, logits = drawn(2.0, images=100)
    found = fit_temperature(labels, logits)
    shifted = logits + np.random.default_rng(1).normal(size=(100, 1))
    order = np.random.default_rng(2).permutation(100)
    assert fit_temperature(labels, shifted) == pytest.approx(found, rel=1e-4)
    assert fit_temperature(labels[order], logits[order]) == pytest.approx(found, rel=1e-4)
    assert fit_temperature(labels, as_logits(softmax(logits, axis=1))) == pytest.approx(found, rel=1e-4)
    # Twice as sure of itself: twice the temperature.
    assert fit_temperature(labels, 2 * logits) == pytest.approx(2 * found, rel=1e-4)
    assert (calibrated(logits, found).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_all_right_does_not_make_certain():
    logits = np.array([[2.0, 0, 0], [0, 2, 0], [0, 0, 2]])
    found = fit_temperature([0, 1, 2], logits)
    assert 0.2 < found < 5
    # More photographs, all of them right: surer.
    many = fit_temperature([0, 1, 2] * 100, np.tile(logits, (100, 1)))
    assert 0.05 < many < found


def test_equal_logits_say_nothing():
    assert fit_temperature([0, 1], np.zeros((2, 3))) == 1.0


def test_probabilities_of_a_softmax_model():
    labels, logits = drawn(1.0, images=20)
    probabilities = softmax(logits, axis=1).astype("float32")
    same = calibrated(probabilities, 1.0, are_logits=False)
    np.testing.assert_array_equal(same, probabilities)
    np.testing.assert_allclose(
        calibrated(probabilities, 2.5, are_logits=False), softmax(logits / 2.5, axis=1), atol=1e-5
    )
    whole = np.array([[3, 1], [0, 2]])
    np.testing.assert_array_equal(calibrated(whole, 1.5), calibrated(whole.astype(float), 1.5))
    certain = calibrated(np.array([[1.0, 0.0]], "float32"), 2.0, are_logits=False)
    assert np.isfinite(certain).all() and certain[0, 0] > 0.99


def test_what_was_before_the_temperature_comes_back():
    _, logits = drawn(1.0, images=20)
    np.testing.assert_allclose(
        uncalibrated(calibrated(logits, 1.7), 1.7), softmax(logits, axis=1), atol=1e-9
    )


def test_a_threshold_answers_fewer_and_better():
    labels, logits = drawn(1.0)
    rows = answered(labels, softmax(logits, axis=1), [0, 0.5, 0.9, 1.1])
    shares, accuracies = ([row[key] for row in rows] for key in ("answered", "accuracy"))
    assert shares[0] == 1 and shares == sorted(shares, reverse=True) and shares[-1] == 0
    assert accuracies[:3] == sorted(accuracies[:3]) and accuracies[-1] is None
    confident = softmax(logits, axis=1).max(axis=1) >= 0.9
    assert shares[2] == confident.mean()
    assert accuracies[2] == (logits.argmax(axis=1) == labels)[confident].mean()


@pytest.mark.parametrize(
    "function, arguments, words",
    [
        (expected_calibration_error, ([0], [[2.0, -1.0]]), "must lie in"),
        (expected_calibration_error, ([0], [[np.nan, 0.5]]), "must lie in"),
        (expected_calibration_error, ([0, 0], [[1, 0], [0.5, 0.8]]), "row 1, which sums to 1.3"),
        (expected_calibration_error, ([0, 1], [[0.5, 0.5]]), "one label for each of 1"),
        (expected_calibration_error, ([0], [0.5]), "shape"),
        (expected_calibration_error, ([0], [[0.5, 0.5]], 0), "`bins`"),
        (fit_temperature, ([2], [[0.0, 1.0]]), "0..1"),
        (fit_temperature, ([0], [[np.inf, 1.0]]), "finite"),
        (fit_temperature, ([], np.zeros((0, 2))), "at least one"),
        (fit_temperature, ([0], [1.0]), "shape"),
        (calibrated, ([[0.0, 1.0]], 0), "`temperature`"),
    ],
)
def test_a_mistake_gets_a_sentence(function, arguments, words):
    with pytest.raises(ValueError, match=words):
        function(*arguments)
