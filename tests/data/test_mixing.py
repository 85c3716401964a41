import numpy as np
import pytest
import tensorflow as tf

from cin_keras.data import SetEpoch, drawn_cars, image_dataset, mixed, pair_dataset
from tests.data.small_sets import coloured_samples


@pytest.fixture(scope="module")
def samples():
    return drawn_cars(num_classes=3, images_per_class=4, image_size=32)


def pairs(samples, **kwargs):
    return pair_dataset(samples, 32, pairs_per_batch=6, seed=1, **kwargs)


def numbers(batch):
    (a, b), (labels_a, labels_b) = batch
    return [np.asarray(x) for x in (a, b, labels_a, labels_b)]


@pytest.mark.every_backend
@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_both_of_a_pair_are_mixed_alike(samples, mixing):
    """Every mixed image is a mixture of two of the batch that its shares tell, pair by pair."""
    data = mixed(pairs(samples), mixing, 3)
    plain_a, plain_b, classes_a, classes_b = numbers(next(iter(pairs(samples))))
    a, b, shares_a, shares_b = numbers(next(iter(data)))
    assert a.dtype == "float32" and a.shape == plain_a.shape and shares_a.shape == (6, 3)
    np.testing.assert_allclose(shares_a.sum(axis=1), 1, atol=1e-6)
    partners = []
    for i in range(6):
        # The weight and the partner that explain the first of the pair explain the second, too.
        errors = []
        for j in range(6):
            one_hot = np.eye(3)[[classes_a[i], classes_a[j], classes_b[i], classes_b[j]]]
            if mixing == "mixup":
                difference = plain_a[i].astype("float64") - plain_a[j]
                size = (difference**2).sum()
                weight = ((a[i] - plain_a[j]) * difference).sum() / size if size else 1.0
                found = [
                    weight * x[i] + (1 - weight) * x[j] for x in (1.0 * plain_a, 1.0 * plain_b)
                ]
            else:
                same = (a[i] == plain_a[i]).all(axis=-1, keepdims=True)
                same_b = (b[i] == plain_b[i]).all(axis=-1, keepdims=True)
                weight = None
                found = [
                    np.where(same, plain_a[i], plain_a[j]),
                    np.where(same_b, plain_b[i], plain_b[j]),
                ]
            error = max(abs(found[0] - a[i]).max(), abs(found[1] - b[i]).max())
            if weight is not None:
                shares = [weight * one_hot[k] + (1 - weight) * one_hot[k + 1] for k in (0, 2)]
                error += abs(shares[0] - shares_a[i]).max() + abs(shares[1] - shares_b[i]).max()
            errors.append(error)
        assert min(errors) < 0.02
        partners.append(int(np.argmin(errors)))
    assert (a != plain_a).any() and len(set(partners)) > 1
    if mixing == "cutmix":  # one draw for both would put every patch on the diagonal
        changed = (a != plain_a).any(axis=-1)
        assert any((one.any(axis=0) != one.any(axis=1)).any() for one in changed)


def test_an_epoch_is_what_its_number_makes_it(samples):
    def epoch(start, seed=0):
        data = mixed(pairs(samples, start_epoch=start), "mixup", 3, seed=seed)
        return numbers(next(iter(data)))

    for x, y in zip(epoch(2), epoch(2), strict=True):
        np.testing.assert_array_equal(x, y)
    assert (epoch(2)[0] != epoch(3)[0]).any() and (epoch(2)[0] != epoch(2, seed=1)[0]).any()


def test_single_images_and_what_callbacks_need(samples):
    images = image_dataset(samples, 32, batch_size=5)
    data = mixed(images, "cutmix", 3)
    assert [tuple(labels.shape) for _, labels in data] == [(5, 3), (5, 3), (2, 3)]
    assert SetEpoch(data).epochs is images.epochs
    assert data.batches is images.batches and data.skipped is images.skipped


@pytest.mark.every_backend
def test_mistakes_are_named(samples):
    images = image_dataset(samples, 32, batch_size=5)
    with pytest.raises(ValueError, match="mixing.*'blend'"):
        mixed(images, "blend", 3)
    with pytest.raises(ValueError, match="num_classes=1"):
        mixed(images, "mixup", 1)


def test_what_cannot_be_mixed_is_named():
    images = image_dataset(coloured_samples([0, 1, 2, 0]), 8, 4)
    for wrong in (np.zeros(3), mixed(images, "mixup", 3), images.map(lambda x, y: x)):
        with pytest.raises(ValueError, match="`dataset` must be a tf.data.Dataset of batches"):
            mixed(wrong, "cutmix", 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`num_classes` is too few"):
        list(mixed(images, "mixup", 2))
    below = images.map(lambda x, y: (x, y - 1))
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels are class numbers from 0"):
        list(mixed(below, "mixup", 3))
