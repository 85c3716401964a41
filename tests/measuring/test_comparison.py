import numpy as np
import pytest

from cin_keras.data import drawn_cars, pair_dataset
from cin_keras.measuring import Results
from cin_keras.measuring.comparison import finished_rows, run_rows, train_model, train_row, trials
from cin_keras.measuring.networks import build_network
from cin_keras.measuring.readers import Photographs
from cin_keras.measuring.rows import build_row
from cin_keras.models.small_backbone import small_backbone

SMALL = ("small", "none", 32, None)  # backbone, weights, pixels, its last layer


@pytest.fixture
def compare(tmp_path):
    """Runs rows with what they are, and returns runs and calls; a rate of 0.2 is the best."""
    cars = drawn_cars(num_classes=3, images_per_class=4, image_size=32)
    samples = cars, cars.subset([0, 4])

    def run(seeds, identity, rates):
        calls = []

        def train(row, part, rate, epochs, seed):
            calls.append((row, rate, seed, epochs, len(part)))
            return rate

        def score(rate, part):
            calls[-1] += (len(part),)
            return {"accuracy": 1 - abs(rate - 0.2)}

        results = Results(tmp_path / "results.jsonl", {})
        how = {"train": train, "score": score, "epochs": 5, "trial_epochs": 3}
        return run_rows(results, seeds, samples, rates, identity, **how), calls

    return run


def test_each_row_runs_once_a_seed_at_its_best_rate(compare):
    rates, identity = {"plain": [0.1, 0.2, 0.4], "SCI": [0.4]}, {"plain": {}, "SCI": {"scale": 1}}
    runs, calls = compare(1, identity, rates)
    assert calls == [
        *(("plain", rate, 0, 3, 6, 6) for rate in rates["plain"]),
        ("plain", 0.2, 0, 5, 12, 2),
        ("SCI", 0.4, 0, 5, 12, 2),
    ]
    runs, calls = compare(2, identity, rates)
    assert [call[:4] for call in calls] == [("plain", 0.2, 1, 5), ("SCI", 0.4, 1, 5)]
    assert [(run["seed"], run["accuracy"]) for run in runs["plain"]] == [(0, 1.0), (1, 1.0)]


def test_a_row_that_has_changed_is_another(compare):
    compare(1, {"SCI": {"scale": 1}}, {"SCI": [0.4]})
    runs, calls = compare(1, {"SCI": {"scale": 2}}, {"SCI": [0.4]})
    assert len(calls) == 1 and [run["scale"] for run in runs["SCI"]] == [2]


def test_trials_are_of_rows_as_they_are_now(tmp_path):
    results = Results(tmp_path / "results.jsonl", {})
    for scale in (1, 2):
        own = {"row": "SCI", "rates": {"phi": scale}, "learning_rate": 0.1}
        for kind in ("trial", "run"):
            results.add(kind=kind, **own, accuracy=scale / 4)
    found = trials(results, {"SCI": {"rates": {"phi": 2}}, "CIN": {}})
    assert [(trial["kind"], trial["accuracy"]) for trial in found] == [("trial", 0.5)]
    assert trials(results, {"CIN": {}}) == []


def test_what_is_finished_is_at_the_rate_of_most_runs(tmp_path):
    results = Results(tmp_path / "results.jsonl", {})
    for rate, seed, accuracy in ((0.1, 0, 0.9), (0.2, 0, 0.5), (0.2, 1, 0.6), (0.2, 1, 0.7)):
        results.add(
            kind="run", row="SCI", scale=2, learning_rate=rate, seed=seed, accuracy=accuracy
        )
    results.add(kind="run", row="SCI", scale=1, learning_rate=0.3, seed=2, accuracy=1.0)
    results.add(kind="trial", row="CIN", learning_rate=0.3, seed=0, accuracy=1.0)
    for rate, accuracy in ((0.1, 0.2), (0.4, 0.3), (0.2, 0.1)):
        results.add(kind="run", row="SE", learning_rate=rate, seed=0, accuracy=accuracy)
    found = finished_rows(results, {"SE": {}, "SCI": {"scale": 2}, "CIN": {}})
    assert list(found) == ["SCI", "SE"], "the most accurate first"
    assert [(run["learning_rate"], run["accuracy"]) for run in found["SE"]] == [(0.4, 0.3)]
    assert [(run["seed"], run["accuracy"]) for run in found["SCI"]] == [(0, 0.5), (1, 0.7)]


def test_a_model_is_trained_as_it_is_asked_to_be():
    cars = drawn_cars(num_classes=3, images_per_class=4, image_size=32)
    model = build_row("SCI+Cont", 3, backbone=small_backbone(32), input_shape=(32, 32, 3))
    pairs = pair_dataset(cars, 32, pairs_per_batch=3)
    before = model.classifier.kernel.numpy()
    trained = train_model(model, pairs, 2, 0.01, "mobilenet", {"phi": 0.5}, 0.3, label_smoothing=0.2)
    assert trained is model and np.abs(model.classifier.kernel.numpy() - before).max() > 0
    assert int(model.optimizer.iterations) == 2 * len(pairs)
    assert (model.optimizer.weight_decay, model.loss.label_smoothing) == (0.3, 0.2)
    assert set(model.optimizer.factors) == {0.5, 1.0}


def test_a_row_is_trained_by_the_recipe_of_all_and_its_own():
    cars = drawn_cars(num_classes=3, images_per_class=4, image_size=32)
    reader = Photographs(lambda row, classes: build_network(row, classes, *SMALL), 32, 3)
    for row, decay, smoothing in (("plain, decay", 0.3, 0.0), ("plain, smoothing", 0.0, 0.2)):
        model = train_row(row, cars, 0.01, 1, 0, reader, "small", 0.3, 0.2)
        assert (model.optimizer.weight_decay, model.loss.label_smoothing) == (decay, smoothing)
    again, other = (train_row(row, cars, 0.01, 1, seed, reader, "small", 0.0, 0.2) for seed in (0, 1))
    kernels = [trained.classifier.kernel.numpy() for trained in (model, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0
