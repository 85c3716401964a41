import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.data import differing_parts, drawn_cars
from cin_keras.data.cropping import crop
from cin_keras.explain import class_contrast, grad_cam, pair_contrast
from cin_keras.measuring import explanations
from cin_keras.measuring.explanations import CONTRAST, DIFFERENCE, GRAD_CAM, PAIR, RANDOM
from cin_keras.models.small_backbone import small_backbone
from tests.data.small_sets import write_cub_200_2011


@pytest.fixture(scope="module")
def model():
    return cin_keras.CIN(
        12, small_backbone(32), input_shape=(32, 32, 3), feature_layer="block_3", embedding_dim=4
    )


@pytest.fixture(scope="module")
def cars():
    return drawn_cars("test", images_per_class=1, image_size=48)


def test_images_are_those_of_evaluation(cars):
    images = explanations.read_images(cars, [2, 0], (32, 32))
    assert (images[0] == crop(cars.read(2), 32, 32)).all()
    assert (images[1] == crop(cars.read(0), 32, 32)).all()


def test_every_method_draws_its_map(model, cars):
    references = explanations.read_images(cars, range(12), (32, 32))
    maps, classes, others = explanations.all_maps(model, references[:3], references, [0, 8])
    own, a, b, _ = class_contrast(model, references[:3])
    assert (classes == a).all() and (others == b).all()
    np.testing.assert_array_equal(maps[CONTRAST], own)
    np.testing.assert_allclose(maps[GRAD_CAM], grad_cam(model, references[:3], a), atol=1e-6)
    np.testing.assert_allclose(maps[DIFFERENCE], grad_cam(model, references[:3], a, b), atol=1e-6)
    pair = pair_contrast(model, references[2], references[b[2]]).maps[0]
    np.testing.assert_allclose(maps[PAIR][2], pair, atol=1e-6)
    assert maps[RANDOM].shape == own.shape
    again = explanations.all_maps(model, references[:3], references, [0, 8])[0]
    np.testing.assert_array_equal(maps[RANDOM], again[RANDOM])


def test_a_map_that_points_at_a_differing_part_scores(model, cars, monkeypatch):
    # An oracle in place of one method: its peaks lie on parts, so every one must count as a hit.
    def with_oracle(model, pictures, references, seed):
        maps, classes, others = honest(model, pictures, references, seed)
        start = seed[1]
        for i, (map, a, b) in enumerate(zip(maps[GRAD_CAM], classes, others)):
            name = differing_parts(a, b)[0]
            left, top, right, bottom = np.array(cars.parts[start + i][name]) / 48
            # Centre crop of 7/8, on a map of 8×8.
            x, y = (8 * (((c + d) / 2 - 1 / 16) * 8 / 7) for c, d in ((left, right), (top, bottom)))
            map[:] = 0
            map[int(np.clip(y, 0, 7)), int(np.clip(x, 0, 7))] = 1
        return maps, classes, others

    honest = explanations.all_maps
    monkeypatch.setattr(explanations, "all_maps", with_oracle)
    references = explanations.read_images(cars, range(12), (32, 32))
    targets = explanations.Targets(cars, differing=differing_parts)
    arrays, chance = explanations.score_maps(model, cars, targets, references, steps=2)
    assert all(values["deletion"].shape == (12, 3) for values in arrays.values())
    found = explanations.summarize_scores(arrays, chance)
    assert found["images"] == 12 and len(found["methods"]) == 5
    peaks = {name: m["peak"]["mean"] for name, m in found["methods"].items() if "peak" in m}
    assert set(peaks) == {CONTRAST, GRAD_CAM, DIFFERENCE, PAIR}, "chance by area has less noise"
    # Cells are coarser than the smallest parts.
    assert peaks[GRAD_CAM] > 0.6 and peaks[GRAD_CAM] > peaks[CONTRAST]
    assert found["best_possible_peak"]["mean"] >= max(peaks.values())
    assert 0 < found["chance"]["image"]["mean"] < found["chance"]["box"]["mean"] < 0.9
    for kinds in found["methods"].values():
        assert 0 < kinds["deletion"]["mean"] < 1 and 0 < kinds["insertion"]["mean"] < 1
    difference = found["class_contrast_minus"][GRAD_CAM]["peak"]["mean"]
    assert difference == pytest.approx(peaks[CONTRAST] - peaks[GRAD_CAM])


@pytest.mark.parametrize("probabilities", [False, True])
def test_curves_are_of_probabilities(model, cars, monkeypatch, probabilities):
    """Whether the model gives logits or probabilities."""
    logits = np.array([0.0, 2.0, 1.0])
    shares = np.exp(logits) / np.exp(logits).sum()

    class Constant:
        classifier_activation = "softmax" if probabilities else None

        def predict_on_batch(self, images):
            return np.tile(shares if probabilities else logits, (len(images), 1))

    def maps(model, pictures, references, seed):
        own = {name: np.ones((len(pictures), 2, 2)) for name in explanations.STYLES}
        return own, np.ones(len(pictures), int), np.zeros(len(pictures), int)

    monkeypatch.setattr(explanations, "all_maps", maps)
    references = np.zeros((3, 16, 16, 3), "uint8")
    targets = explanations.Targets(cars, differing=differing_parts)
    arrays, _ = explanations.score_maps(Constant(), cars, targets, references, steps=1)
    np.testing.assert_allclose(arrays[CONTRAST]["insertion"], shares[1])


def test_what_counts_as_a_hit_on_a_bird(tmp_path):
    samples = cin_keras.data.cub_200_2011(write_cub_200_2011(tmp_path), "test")
    targets = explanations.Targets(samples, radius=0.1)
    # Image 2: 32×24 pixels, beak at (5, 5.5), larger side of the box 12: a radius of 1.2.
    for distance, hit in ((0, True), (1.1, True), (1.3, False)):
        share = [(5 + distance - 2) / 28, (5.5 - 1.5) / 21]
        assert targets.hits(0, np.array([share]), 0, 1).tolist() == [hit]
    assert targets.in_box(0, np.array([[0.01, 0.5], [0.99, 0.5]])).tolist() == [True, False]


def scored(peaks, visible):
    """What `score_maps` returns, of curves that are 0.5 everywhere."""
    flat = np.full((len(visible), 3), 0.5)
    arrays = {
        n: {"peak": np.array(p), "deletion": flat, "insertion": flat} for n, p in peaks.items()
    }
    visible = np.array(visible)
    chance = {"image": 0.25 * visible, "box": 0.5 * visible, "best cell": visible > 0}
    return arrays, {**chance, "right": np.array([True] * len(visible))}


def test_images_in_which_nothing_could_be_hit_do_not_count():
    peaks = {CONTRAST: [1, 1, 0, 0], GRAD_CAM: [1, 0, 0, 0], RANDOM: [0, 0, 0, 0]}
    found = explanations.summarize_scores(*scored(peaks, [1, 1, 1, 0]))
    assert (found["images"], found["images_with_a_visible_part"]) == (4, 3)
    assert found["methods"][CONTRAST]["peak"]["mean"] == pytest.approx(2 / 3)
    assert found["chance"] == {
        "image": {"mean": 0.25, "standard_error": 0}, "box": {"mean": 0.5, "standard_error": 0},
    }  # fmt: skip
    paired = found["class_contrast_minus"][GRAD_CAM]["peak"]
    assert paired["mean"] == pytest.approx(1 / 3) and paired["standard_error"] == pytest.approx(
        1 / 3
    )


def test_curves_count_by_the_area_under_them():
    arrays, chance = scored({CONTRAST: [1, 1], RANDOM: [0, 0]}, [1, 1])
    arrays[CONTRAST]["deletion"] = np.array([[1, 0.25, 0], [1, 1, 1]])
    found = explanations.summarize_scores(arrays, chance)["methods"][CONTRAST]["deletion"]
    assert found["mean"] == pytest.approx((0.375 + 1) / 2)


def test_table_and_figure(tmp_path):
    peaks = {CONTRAST: [1, 0, 1, 0], GRAD_CAM: [1, 0, 0, 0], RANDOM: [0, 0, 0, 0]}
    arrays, chance = scored(peaks, [1, 1, 1, 1])
    summary = explanations.summarize_scores(arrays, chance)
    table = explanations.score_table(summary, "a differing part", "car").splitlines()
    assert table[2] == "| class contrast | 50.0 % ± 28.9 | 0.500 ± 0.000 | 0.500 ± 0.000 |"
    assert table[4] == "| random order | | 0.500 ± 0.000 | 0.500 ± 0.000 |"
    assert table[6] == "| chance, anywhere in the car's box | 50.0 % ± 0.0 | | |"
    assert "100.0% of the images are classified rightly" in table[-1]
    assert "against those of: Grad-CAM +25.0 ± 25.0 (paired)" in table[-1]
    path = explanations.score_figure(arrays, summary, tmp_path / "scores.png")
    assert min(Image.open(path).size) > 200
