import time

import numpy as np
import pytest

import cin_keras
from cin_keras.data import Samples
from cin_keras.measuring import new_classes


def test_scores_are_told_apart():
    table = new_classes.none_of_these_table({"a": ([3.0, 4.0], [1.0, 2.0]), "b": ([1.0], [2.0])})
    assert table.splitlines()[2:] == ["| a | 1.000 | 0.0% |", "| b | 0.000 | 100.0% |"]


class Planes(cin_keras.Gallery):
    """A gallery in which the name of a file is the embedding of its photograph."""

    sizes, asked = [], []

    def classify(self, images):
        self.asked.append(self.by)
        return super().classify(images)

    def add(self, samples, **kwargs):
        time.sleep(0.1 * len(samples))
        vectors = [[float(x) for x in path.split("/")[-1].split("_")] for path in samples.paths]
        super().add_embeddings(vectors, [samples.class_names[i] for i in samples.labels])
        self.sizes.append(len(self))


def test_new_classes_with_one_and_with_all_photographs():
    gallery = Planes.from_embeddings([[1.0, 0, 0], [1, 0.1, 0]], ["known", "known"])
    Planes.sizes.clear()
    Planes.asked.clear()
    paths = ["0_1_0", "0_1_0.1", "0_0_1", "0_0.1_1", "0.1_0_1"]
    samples = Samples(paths, [0, 0, 1, 1, 1], ["blue", "red"])
    questions = [
        (np.array([[1, 0, 0], [0, 1, 0]], "float32"), ["known", "known"]),
        (np.array([[0, 0.9, 0.1]], "float32"), ["blue"]),
    ]
    rows, seconds = new_classes.add_few_to_all(gallery, samples, questions, (1, None), seed=3)
    assert Planes.sizes == [4, 7], "what was there of the new classes was taken out in between"
    assert [row[:2] for row in rows] == [
        [1, "means"], [1, "nearest"], ["all", "means"], ["all", "nearest"],
    ]  # fmt: skip
    assert Planes.asked == ["means", "means", "nearest", "nearest"] * 2, "of each question"
    for _, by, every, known, new in rows:
        assert (known, new) == (0.5, 1.0) and every == pytest.approx(2 / 3), by
    assert 0.1 < seconds < 0.2, "of one photograph"
    assert gallery.num_classes == 3
