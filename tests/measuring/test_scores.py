import numpy as np
import pytest

from cin_keras.measuring import scores


def test_peaks_lie_in_the_middle_of_the_highest_cell():
    maps = np.zeros((2, 3, 4))
    maps[0, 0, 3], maps[1, 2, 1] = 1, 1
    np.testing.assert_allclose(scores.peaks(maps), [[7 / 8, 1 / 6], [3 / 8, 5 / 6]])


def test_cells_of_one_height_come_in_random_order():
    flat = scores.order_of_cells(np.zeros((200, 4, 4)))
    assert all(sorted(order) == list(range(16)) for order in flat.tolist())
    # No cell is first much oftener than any other.
    assert np.bincount(flat[:, 0], minlength=16).max() < 35
    np.testing.assert_array_equal(flat, scores.order_of_cells(np.zeros((200, 4, 4))))
    assert (flat != scores.order_of_cells(np.zeros((200, 4, 4)), seed=1)).any()


def test_points_in_boxes_and_near_points():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 10, (50, 2))
    boxes = np.sort(rng.uniform(0, 10, (3, 2, 2)), axis=1).reshape(3, 4)
    targets = rng.uniform(0, 10, (4, 2))
    inside = [
        any(left <= x < right and top <= y < bottom for left, top, right, bottom in boxes)
        for x, y in points
    ]
    assert 0 < sum(inside) < 50
    assert scores.in_boxes(points, boxes).tolist() == inside
    near = [any(np.hypot(x - a, y - b) <= 1.5 for a, b in targets) for x, y in points]
    assert 0 < sum(near) < 50
    assert scores.near_points(points, targets, 1.5).tolist() == near
    assert not scores.in_boxes(points, []).any()
    assert not scores.near_points(points, [], 99).any()


def test_the_share_of_the_grid_in_a_box_is_its_area():
    points = scores.grid(20, 10) * (10, 20)
    assert scores.in_boxes(points, [[2, 5, 6, 15]]).mean() == pytest.approx(4 * 10 / 200)


def test_deletion_and_insertion_against_loops():
    rng = np.random.default_rng(1)
    images = rng.uniform(0, 255, (2, 6, 9, 3)).astype("float32")
    maps = rng.normal(size=(2, 2, 3))
    weights = rng.normal(size=(6 * 9 * 3, 4)) / 100

    def predict(pictures):
        assert pictures.dtype == np.float32
        return pictures.reshape(len(pictures), -1) @ weights

    deleted = scores.deletion_curves(predict, images, maps, [1, 3], steps=4)
    assert deleted.shape == (2, 5)
    for i, label in enumerate((1, 3)):
        order = np.argsort(-maps[i].ravel())
        for step in range(5):
            picture = images[i].copy()
            for cell in order[: round(step * 6 / 4)]:
                row, column = divmod(cell, 3)
                block = np.s_[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
                picture[block] = images[i].mean(axis=(0, 1))
            expected = (picture.reshape(-1) @ weights)[label]
            assert deleted[i, step] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    inserted = scores.insertion_curves(predict, images, maps, [1, 3], steps=4)
    np.testing.assert_allclose(inserted[:, -1], deleted[:, 0], rtol=1e-5)
    assert (np.abs(inserted[:, 0] - inserted[:, -1]) > 1e-3).all()


def test_a_map_that_points_at_what_counts_beats_one_that_points_away():
    image = np.full((1, 16, 16, 3), 100.0)
    image[:, 4:8, 8:12] = 255.0

    def predict(pictures):  # the brightness of the spot against its image
        return pictures[:, 4:8, 8:12].mean(axis=(1, 2))[:, :1] / 255

    right = np.zeros((1, 4, 4))
    right[0, 1, 2] = 1
    for curves, sign in ((scores.deletion_curves, -1), (scores.insertion_curves, 1)):
        good, bad = (curves(predict, image, map, [0]).mean() for map in (right, -right))
        assert sign * (good - bad) > 0.2


def test_means_and_errors():
    values = np.random.default_rng(2).random(40) < 0.3
    mean, error = scores.mean_and_error(values)
    assert mean == values.mean()
    variance = sum((value - mean) ** 2 for value in values.astype(float)) / 39
    assert error == pytest.approx((variance / 40) ** 0.5)
    assert np.isnan(scores.mean_and_error([1])[1])


def test_mistakes():
    images, maps = np.zeros((2, 8, 8, 3)), np.zeros((2, 2, 2))
    with pytest.raises(ValueError, match=r"\(3,\)"):
        scores.deletion_curves(lambda x: x, images, maps, [0, 1, 2])
    with pytest.raises(ValueError, match="steps=0"):
        scores.deletion_curves(lambda x: x, images, maps, [0, 1], steps=0)
