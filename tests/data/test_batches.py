import numpy as np
import pytest

from cin_keras.data import Samples, image_dataset, pair_dataset
from tests.data.small_sets import encode


def coloured_samples(count, broken=()):
    """Images whose red is the number of the sample; two classes; some cannot be decoded."""
    encoded = []
    for i in range(count):
        image = np.zeros((8, 8, 3), "uint8")
        image[..., 0] = 10 * i
        encoded.append(b"broken" if i in broken else encode(image))
    paths = [f"{i}.png" for i in range(count)]
    return Samples(paths, np.arange(count) % 2, ["a", "b"], encoded=encoded)


def shown(images):
    return (np.asarray(images)[:, 4, 4, 0] // 10).tolist()


@pytest.mark.parametrize("shard", [None, (1, 2)])
@pytest.mark.parametrize("options", [{}, {"classes_per_batch": 2}])
def test_the_images_of_every_pair_batch(shard, options):
    pairs = pair_dataset(
        coloured_samples(16), 8, 2, augment=None, start_epoch=3, shard=shard, **options
    )
    for epoch in (3, 4):
        for step, ((images_a, images_b), _) in enumerate(pairs):
            found = pairs.batches.indices(epoch, step)
            assert found == shown(images_a) + shown(images_b)
            assert pairs.batches.paths(epoch, step) == [f"{i}.png" for i in found]
    assert pairs.epochs.epoch == 5, "asking takes no epoch"


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_images_of_every_batch(shuffle):
    images = image_dataset(coloured_samples(11), 8, 4, shuffle=shuffle)
    for epoch in range(2):
        for step, (batch, _) in enumerate(images):
            assert images.batches.indices(epoch, step) == shown(batch)
    assert step == 2


@pytest.mark.filterwarnings("ignore:Left out")
@pytest.mark.parametrize("dataset", ["pairs", "shuffled", "in order"])
def test_images_that_were_left_out_are_not_named(dataset):
    samples = coloured_samples(12, broken=(1, 4, 6))
    options = {"augment": None, "on_error": "skip"}
    if dataset == "pairs":
        data = pair_dataset(samples, 8, 3, **options)
    else:
        data = image_dataset(samples, 8, 4, shuffle=dataset == "shuffled", **options)
    for epoch in range(2):
        for step, (images, _) in enumerate(data):
            batch = shown(images[0]) + shown(images[1]) if dataset == "pairs" else shown(images)
            assert data.batches.indices(epoch, step) == batch
