import numpy as np
import pytest

from cin_keras.data import drawn_cars
from cin_keras.measuring.comparison import best_runs, finished, run_rows, train_row
from cin_keras.measuring.networks import build_network
from cin_keras.measuring.readers import Photographs
from cin_keras.measuring.results import Results
from cin_keras.models import TRAINING_RATES

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


def test_what_is_finished_is_of_rows_as_they_are_now(tmp_path, capsys):
    results = Results(tmp_path / "results.jsonl", {})
    for scale in (1, 2, 1):
        own = {"row": "SCI", "rates": {"phi": scale}, "learning_rate": 0.1}
        for kind in ("trial", "run"):
            results.add(kind=kind, **own, accuracy=scale / 4)
    (record,) = finished(results, "trial", {"SCI": {"rates": {"phi": 2}}, "CIN": {}})
    assert (record["kind"], record["accuracy"]) == ("trial", 0.5)
    assert capsys.readouterr().out.endswith("became what it is: SCI (2)\n")
    assert len(finished(results, "run", {"SCI": {}}, rates={"SCI": [0.1]})) == 3
    for identity, rates in (({"CIN": {}}, None), ({"SCI": {}}, {"SCI": [0.2]})):
        with pytest.raises(ValueError, match="holds no run of these rows as they are now"):
            finished(results, "run", identity, rates)
    assert capsys.readouterr().out == ""


def test_the_best_runs_are_at_the_rate_of_most():
    def run(row, rate, seed, accuracy):
        return {"row": row, "learning_rate": rate, "seed": seed, "accuracy": accuracy}

    runs = [run("SE", 0.1, 0, 0.2), run("SE", 0.4, 0, 0.3), run("SE", 0.2, 0, 0.1)]
    runs += [run("SCI", 0.1, 0, 0.9), run("SCI", 0.2, 0, 0.5)]
    runs += [run("SCI", 0.2, 1, 0.6), run("SCI", 0.2, 1, 0.7)]
    found = best_runs(runs)
    assert list(found) == ["SCI", "SE"], "the most accurate first"
    assert found["SE"] == [runs[1]]
    assert found["SCI"] == [runs[4], runs[6]], "of a seed the last"


@pytest.mark.filterwarnings("ignore:Even though:UserWarning")  # so are the functions of tf.data, still
def test_a_row_is_trained_by_the_recipe_of_all_and_its_own(untraced):
    cars = drawn_cars(num_classes=3, images_per_class=4, image_size=32)
    reader = Photographs(lambda row, classes: build_network(row, classes, *SMALL), 32, 3)
    for row, decay, smoothing in (("plain, decay", 0.3, 0.0), ("plain, smoothing", 0.0, 0.2)):
        model = train_row(row, cars, 0.01, 1, 0, reader, "small", 0.3, 0.2)
        assert (model.optimizer.weight_decay, model.loss.label_smoothing) == (decay, smoothing)
        assert int(model.optimizer.iterations) == 2 and set(model.optimizer.factors) == {1.0}
    again, other = (train_row(row, cars, 0.01, 1, seed, reader, "small", 0.0, 0.2) for seed in (0, 1))
    kernels = [trained.classifier.kernel.numpy() for trained in (model, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0
    with_phi = train_row("SCI", cars, 0.01, 1, 0, reader, "small", 0.0, 0.2)
    assert set(with_phi.optimizer.factors) == {1.0, TRAINING_RATES["phi"]}
