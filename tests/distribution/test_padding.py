import numpy as np
import pytest
import tensorflow as tf

from cin_keras.data import image_dataset
from cin_keras.distribution.padding import batch_size, count_images, pad_batches
from tests.data.test_batches import coloured_samples


@pytest.mark.parametrize(
    ("images", "size", "devices", "rows"),
    [
        (13, 4, 2, [4] * 4),
        (13, 4, 4, [4] * 4),
        (13, 5, 4, [8] * 3),
        (8, 4, 2, [4] * 2),
        (1, 2, 2, [2]),
    ],
)
def test_every_image_weighs_the_same_in_the_mean_over_all_rows(images, size, devices, rows):
    dataset = image_dataset(coloured_samples(images), 8, size)
    padded, counted, steps = pad_batches(dataset, devices)
    assert (counted, steps) == (images, len(rows))
    assert len(padded) == len(rows)
    batches = [[np.asarray(part) for part in batch] for batch in padded]
    assert [len(batch[0]) for batch in batches] == rows
    whole = [np.concatenate(parts) for parts in zip(*batches)]
    expected = [np.concatenate([np.asarray(x) for x in parts]) for parts in zip(*dataset)]
    counts = whole[2] > 0
    np.testing.assert_array_equal(whole[0][counts], expected[0])
    np.testing.assert_array_equal(whole[1][counts], expected[1])
    # The mean over all rows, as Keras takes it, is the mean over the images.
    values = np.where(counts, 1.0 + np.cumsum(counts), 99.0)
    assert np.mean(values * whole[2]) == pytest.approx(values[counts].mean())


def test_weights_of_the_data_set_are_kept():
    dataset = tf.data.Dataset.from_tensor_slices((np.ones((4, 2)), [0, 1, 0, 1], [1.0, 2, 3, 0]))
    padded = pad_batches(dataset.batch(2, drop_remainder=True), 4).dataset
    weights = np.concatenate([np.asarray(batch[2]) for batch in padded])
    np.testing.assert_allclose(weights, [2, 4, 0, 0, 6, 0, 0, 0])


def test_a_data_set_that_leaves_images_out_is_counted():
    dataset = image_dataset(coloured_samples(7, broken=(1, 2)), 8, 2, on_error="skip")
    assert count_images(dataset) == 5
    padded, images, steps = pad_batches(dataset, 2)
    assert (images, steps, len(padded), len(list(padded))) == (5, 3, 3, 3)


def test_the_size_of_a_batch_must_be_known():
    dataset = tf.data.Dataset.from_tensor_slices((np.ones((3, 2)), [0, 1, 0])).batch(2)
    with pytest.raises(ValueError, match="must say how many images a batch holds.*Received: data"):
        batch_size(dataset)


def test_a_pass_without_an_end_is_refused():
    images = image_dataset(coloured_samples(4), 8, 2)
    for dataset in (images.repeat(), images.unbatch().repeat().batch(2)):
        with pytest.raises(ValueError, match="must end: leave out repeat.*Received: .*Dataset"):
            count_images(dataset)


def test_a_process_with_fewer_images_fills_up_whole_batches():
    dataset = image_dataset(coloured_samples(3), 8, 2)
    padded, images, steps = pad_batches(dataset, 2, lambda own: [7, own])
    assert (images, steps) == (3, 4)
    weights = [np.asarray(batch[2]).tolist() for batch in padded]
    # 16 rows of both processes for 10 images.
    np.testing.assert_allclose(weights, [[1.6, 1.6], [1.6, 0], [0, 0], [0, 0]])
