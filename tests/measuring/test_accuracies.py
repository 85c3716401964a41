import csv

import keras
import numpy as np
import pytest
from PIL import Image

from cin_keras.data import drawn_cars
from cin_keras.evaluation import recall_at_1
from cin_keras.measuring import accuracies
from cin_keras.measuring.readers import Photographs
from cin_keras.models import Whitening
from tests.models.networks import tiny_cin

READER = Photographs(None, image_size=32, pairs_per_batch=4)


def run(seed, accuracy, top_5_accuracy=1.0):
    return {"seed": seed, "accuracy": accuracy, "top_5_accuracy": top_5_accuracy}


def test_accuracy_is_of_the_images_that_are_right():
    samples = drawn_cars("test", images_per_class=1, image_size=32)
    model = tiny_cin(12, size=32, interaction=None, contrast=None, randomize=False)
    model.classifier.kernel.assign(0 * model.classifier.kernel)
    model.classifier.bias.assign([0.0] * 4 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0])
    found = accuracies.score_model(model, samples, READER, samples)
    confidence = np.exp(6) / (np.exp(np.arange(1, 7)).sum() + 6)
    assert found == {
        "accuracy": pytest.approx(1 / 12),
        "top_5_accuracy": pytest.approx(5 / 12),
        "ece": pytest.approx(confidence - 1 / 12, rel=1e-5),
    }


def test_a_model_that_diverged_counts_as_all_wrong():
    samples = drawn_cars("test", images_per_class=1, image_size=32)
    model = tiny_cin(12, size=32, interaction=None, contrast=None, randomize=False)
    model.classifier.bias.assign([float("nan")] * 12)
    found = accuracies.score_model(model, samples, READER, samples)
    assert found == {"accuracy": 0.0, "top_5_accuracy": 0.0, "diverged": True}


def test_means_and_spread_over_seeds():
    row = accuracies.summarize_runs([run(0, 0.3), run(1, 0.4, 0.8), run(1, 0.6, 0.9), run(2, 0.6)])
    assert row["seeds"] == 3 and row["accuracies"] == [0.3, 0.6, 0.6], "of one seed, the last"
    assert row["accuracy"] == pytest.approx(0.5)
    assert row["spread"] == pytest.approx((0.06 / 2) ** 0.5)
    assert row["top_5_accuracy"] == pytest.approx(2.9 / 3)
    assert np.isnan(accuracies.summarize_runs([run(0, 0.3)])["spread"])


def test_recall_is_of_what_the_classifier_sees():
    """Two images of one colour are each other's nearest, whatever class the network names."""
    model = tiny_cin(2, interaction=None, contrast=None, randomize=False)
    images = np.zeros((4, 8, 8, 3), "float32")
    images[:2, ..., 0] = images[2:, ..., 1] = 255
    images[1::2] *= 0.9
    model.backbone.get_layer("conv").kernel.assign(np.eye(3, 4).reshape(1, 1, 3, 4))
    assert accuracies.recall_on(model, images, [0, 0, 1, 1]) == {"recall_at_1": 1.0}
    assert accuracies.recall_on(model, images, [0, 1, 0, 1]) == {"recall_at_1": 0.0}
    model.backbone.get_layer("conv").bias.assign([float("nan")] * 4)
    assert accuracies.recall_on(model, images, [0, 0, 1, 1]) == {"recall_at_1": 0.0}


@pytest.mark.filterwarnings("ignore:Even though:UserWarning")
def test_recall_is_also_of_whitened_embeddings(untraced):
    model = tiny_cin(2, interaction="sci", contrast="embedding", randomize=False)
    images = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 3)).astype("float32")
    labels = np.arange(12) % 2
    found = accuracies.recall_on(model, images, labels, images[:5])
    seen = keras.Model(model.inputs, model.classifier.input).predict(images, verbose=0)
    assert found == {
        "recall_at_1": recall_at_1(seen, labels),
        "recall_at_1_whitened": recall_at_1(Whitening.fit(seen[:5])(seen), labels),
    }
    conv = model.backbone.get_layer("conv")
    conv.kernel.assign(0 * conv.kernel)  # the same of every image: nothing to whiten by
    found = accuracies.recall_on(model, images, labels, images[:5])
    assert found["recall_at_1_whitened"] == found["recall_at_1"]
    conv.bias.assign([float("nan")] * 4)
    assert set(accuracies.recall_on(model, images, labels, images[:5]).values()) == {0.0}


def test_a_model_is_scored_on_classes_it_knows_and_on_others():
    cars = drawn_cars(num_classes=4, images_per_class=3, image_size=32)
    known, others = cars.filter(cars.class_names[::2]), cars.filter(cars.class_names[1::2])
    model = tiny_cin(2, size=32, interaction=None, contrast=None, randomize=False)
    found = accuracies.score_model(model, known, READER, known)
    scores = model.predict(READER.images(known))
    assert found == accuracies.accuracy_of(scores, known) and "recall_at_1" not in found
    embeddings = keras.Model(model.inputs, model.classifier.input).predict(READER.images(others), verbose=0)
    whole = accuracies.score_model(model, known, READER, known, others)
    assert whole["recall_at_1"] == recall_at_1(embeddings, others.labels)
    assert whole.items() > found.items() and "recall_at_1_whitened" in whole


def test_what_some_rows_have_is_a_column():
    own = {"learning_rate": 0.1, "milliseconds": 1.0, "parameters": 1_000_000}
    more = [{**run(seed, 0.5), "ece": 0.1, "recall_at_1": 0.25 + seed / 2} for seed in (0, 1)]
    for each in more:
        each["recall_at_1_whitened"] = each["recall_at_1"] / 2
    table = [{"row": "new", **accuracies.summarize_runs(more), **own}]
    table.append({"row": "old", **accuracies.summarize_runs([run(0, 0.5)]), **own})
    assert accuracies.accuracy_table(table).splitlines()[2:] == [
        "| new | 50.0% ± 0.0 | 100.0% | 50.0% ± 35.4 | 25.0% ± 17.7 | 0.100 | 2 | 0.1 | 1.0 | 1.0 M |",
        "| old | 50.0% | 100.0% | – | – | – | 1 | 0.1 | 1.0 | 1.0 M |",
    ]


def test_table_file_and_figure(tmp_path):
    own = {"learning_rate": 0.05, "milliseconds": 3.04, "parameters": 4_100_000}
    table = [
        {"row": "plain", **accuracies.summarize_runs([run(0, 0.7), run(1, 0.8)]), **own},
        {"row": "SCI, α 1", **accuracies.summarize_runs([run(0, 0.789, 0.951)]), **own},
    ]
    assert accuracies.accuracy_table(table).splitlines()[2:] == [
        "| plain | 75.0% ± 7.1 | 100.0% | 2 | 0.05 | 3.0 | 4.1 M |",
        "| SCI, α 1 | 78.9% | 95.1% | 1 | 0.05 | 3.0 | 4.1 M |",
    ]
    path = accuracies.write_accuracies(table, tmp_path / "ablation.csv")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "accuracies" and rows[0]["accuracies"] == "0.7 0.8"
    assert [row["row"] for row in rows] == ["plain", "SCI, α 1"]
    assert float(rows[0]["spread"]) == pytest.approx(0.5**0.5 / 10)
    figure = accuracies.accuracy_figure(table, tmp_path / "ablation.png")
    assert min(Image.open(figure).size) > 200
