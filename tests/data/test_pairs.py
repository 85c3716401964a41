import keras
import numpy as np
import pytest

from cin_keras.data import PairSampler, SetEpoch, image_dataset, pair_dataset
from tests.data.small_sets import coloured_samples, from_arrays
from tests.models.networks import tiny_cin, uncompiled

# Images of each class, pairs in a batch, share of positive pairs.
DISTRIBUTIONS = {
    "uniform": ([8] * 6, 6, 0.5),
    "uniform, a third": ([10] * 6, 5, 1 / 3),
    "odd classes, nothing left over": ([7, 5, 3, 9], 3, 0.5),
    "images left over": ([7] * 7, 4, 0.5),
    "long tail": ([20, 10, 6, 4, 3, 2, 1, 1, 1], 6, 0.5),
    "single images": ([1] * 23, 3, 0.5),
    "one class": ([21], 2, 1.0),
    "two classes": ([26, 23], 5, 0.5),
    "two unequal classes": ([68, 28], 6, 0.5),
    "only positive": ([8, 8, 8], 4, 1.0),
    "only positive, odd classes": ([3] * 8, 4, 1.0),
    "only negative": ([8, 8, 8], 4, 0.0),
}
USED_ONCE = [
    "uniform",
    "uniform, a third",
    "two classes",
    "two unequal classes",
    "only positive",
    "only negative",
    "one class",
]


def shuffled_labels(sizes, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))


def usage(pairs, count):
    seen = np.zeros(count, int)
    for index in np.ravel(pairs):
        seen[index] += 1
    return seen


# === The pairs of an epoch ===


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_pairs_of_an_epoch(name):
    sizes, pairs_per_batch, fraction = DISTRIBUTIONS[name]
    labels = shuffled_labels(sizes)
    sampler = PairSampler(labels, pairs_per_batch, fraction, seed=4)
    batches = sum(sizes) // (2 * pairs_per_batch)
    for number in range(5):
        epoch = sampler.epoch(number)
        assert epoch.shape == (batches, pairs_per_batch, 2)
        total = 0
        for batch in epoch:
            positives = 0
            for a, b in batch:
                if labels[a] == labels[b]:
                    positives += 1
                    assert a != b or sizes[labels[a]] == 1
            assert abs(positives - fraction * pairs_per_batch) < 1
            total += positives
        assert total == int(fraction * batches * pairs_per_batch + 0.5)
        seen = usage(epoch, len(labels))
        assert seen.max() <= 2
        if name in USED_ONCE:
            assert seen.sum() == len(labels) - len(labels) % (2 * pairs_per_batch)
            assert seen.max() == 1


def test_every_image_is_seen_equally_often_over_many_epochs():
    labels = shuffled_labels([20, 10, 6, 4, 3, 2, 1, 1, 1])
    sampler = PairSampler(labels, 5)
    seen = sum(usage(sampler.epoch(number), len(labels)) for number in range(200)) / 200
    np.testing.assert_allclose(seen, 40 / len(labels), atol=0.15)


def test_a_class_too_large_for_the_others_meets_them_again():
    labels = shuffled_labels([45, 5])
    epoch = PairSampler(labels, 5, positive_fraction=0).epoch(0).reshape(-1, 2)
    assert (labels[epoch[:, 0]] != labels[epoch[:, 1]]).all()
    seen = usage(epoch, 50)
    assert seen[labels == 0].max() == 1
    np.testing.assert_array_equal(seen[labels == 1], 5)


def test_a_class_meets_many_others():
    labels = shuffled_labels([20] * 10)
    epoch = PairSampler(labels, 5, positive_fraction=0).epoch(0).reshape(-1, 2)
    partners = np.zeros((10, 10), bool)
    for a, b in labels[epoch]:
        partners[a, b] = partners[b, a] = True
    assert partners.sum(0).min() >= 5


def test_a_class_of_exactly_half_the_images_meets_all_others_once():
    labels = shuffled_labels([50, 30, 15, 5])
    for number in range(5):
        epoch = PairSampler(labels, 5, positive_fraction=0).epoch(number).reshape(-1, 2)
        assert (labels[epoch[:, 0]] != labels[epoch[:, 1]]).all()
        assert (usage(epoch, 100) == 1).all()


# === Few classes in a batch ===

# Images of each class, pairs in a batch, share of positive pairs, classes in a batch.
FEW_CLASSES = {
    "as in the paper's code": ([10] * 8, 10, 0.5, 4),
    "two classes a batch": ([10] * 8, 10, 0.5, 2),
    "one class a batch": ([10] * 8, 5, 1.0, 1),
    "all classes": ([12] * 5, 5, 0.4, 5),
    "only negative": ([9, 8, 7], 3, 0.0, 2),
    "unequal": ([30, 3, 2, 9, 6], 4, 0.5, 4),
}


@pytest.mark.parametrize("name", FEW_CLASSES)
def test_few_classes_in_a_batch(name):
    sizes, pairs_per_batch, fraction, classes_per_batch = FEW_CLASSES[name]
    labels = shuffled_labels(sizes)
    sampler = PairSampler(labels, pairs_per_batch, fraction, classes_per_batch, seed=1)
    images_per_class = 2 * pairs_per_batch // classes_per_batch
    seen = np.zeros(len(labels))
    for number in range(30):
        epoch = sampler.epoch(number)
        assert epoch.shape == (len(labels) // (2 * pairs_per_batch), pairs_per_batch, 2)
        total = 0
        for batch in epoch:
            positives = 0
            for a, b in batch:
                assert a != b
                positives += labels[a] == labels[b]
            # Two classes of an even number of images make an even number of positive pairs.
            assert abs(positives - fraction * pairs_per_batch) <= 1
            total += positives
            drawn = [list(labels[batch.ravel()]).count(k) for k in range(len(sizes))]
            assert sorted(drawn)[-classes_per_batch:] == [images_per_class] * classes_per_batch
            assert sum(drawn) == 2 * pairs_per_batch
        assert abs(total - fraction * epoch.size / 2) <= 1
        seen += usage(epoch, len(labels)) / 30
    if len(set(sizes)) == 1:
        np.testing.assert_allclose(seen, 1, atol=0.4)


def test_few_classes_are_mixed_anew_in_every_batch():
    labels = shuffled_labels([10] * 8)
    sampler = PairSampler(labels, 10, classes_per_batch=4)
    mixes = {tuple(np.unique(labels[batch])) for n in range(5) for batch in sampler.epoch(n)}
    assert len(mixes) > 10


# === Many images ===


def long_tail(images=60_000, classes=3_000):
    """The sizes of classes of which the largest has a fifth of the images, and most have few."""
    sizes = np.maximum(1, images / 5 / np.arange(1, classes + 1) ** 1.2).astype(int)
    sizes[1] += images - sizes.sum()
    return shuffled_labels(sizes)


@pytest.mark.parametrize("sampling", ["image", "class"])
@pytest.mark.parametrize("classes_per_batch", [None, 4])
def test_a_long_tail_of_classes(classes_per_batch, sampling):
    labels = long_tail()
    sizes = np.bincount(labels)
    sampler = PairSampler(labels, 10, 0.5, classes_per_batch, sampling=sampling)
    for number in range(2):
        epoch = sampler.epoch(number)
        assert epoch.shape == (3000, 10, 2)
        of_class = labels[epoch]
        positive = of_class[..., 0] == of_class[..., 1]
        assert abs(positive.sum() - 15_000) <= 1
        same_image = epoch[..., 0] == epoch[..., 1]
        assert (sizes[of_class[same_image]] == 1).all()
        assert positive[same_image].all()
        if classes_per_batch:
            in_order = np.sort(of_class.reshape(3000, 20))
            np.testing.assert_array_equal(in_order[:, ::5], in_order[:, 4::5])
            assert (np.diff(in_order[:, ::5]) > 0).all()
        seen = np.bincount(epoch.ravel(), minlength=len(labels))
        of_classes = np.bincount(labels, weights=seen)
        if sampling == "image":
            many = sizes >= 100
            np.testing.assert_allclose(of_classes[many], sizes[many], rtol=0.06)
            assert seen[many[labels]].max() <= 2
        else:
            # 20 images of each on average, and a chunk of 5 or a partner more or less.
            assert np.abs(of_classes - 20).max() <= 5
            assert seen[sizes[labels] > 25].max() <= 2


def test_the_sampler_holds_little_more_than_the_labels():
    sampler = PairSampler(long_tail().astype("int32"), 10)
    arrays = [value for value in vars(sampler).values() if isinstance(value, np.ndarray)]
    assert all(array.dtype.kind in "iu" for array in arrays)
    assert sum(array.nbytes for array in arrays) < 8 * 60_000


# === Sampling by class ===


@pytest.mark.parametrize("classes_per_batch", [None, 2])
def test_sampling_by_class_shows_every_class_equally_often(classes_per_batch):
    sizes = [40, 17, 8, 4, 2, 1]
    labels = shuffled_labels(sizes)
    sampler = PairSampler(labels, 4, 0.5, classes_per_batch, seed=2, sampling="class")
    assert len(sampler) == 72 // 8, "as many batches as by image"
    seen = np.zeros(72)
    for number in range(300):
        epoch = sampler.epoch(number)
        assert epoch.shape == (9, 4, 2)
        first, second = labels[epoch].reshape(-1, 2).T
        assert (first == second).sum() == 18
        same = (epoch[..., 0] == epoch[..., 1]).ravel()
        assert (labels[epoch[..., 0].ravel()[same]] == 5).all()
        seen += usage(epoch, 72) / 300
    for label, size in enumerate(sizes):
        # 72 places for 6 classes, and for the images of a class alike.
        np.testing.assert_allclose(seen[labels == label].sum(), 12, rtol=0.1)
        np.testing.assert_allclose(seen[labels == label], 12 / size, rtol=0.5)


def test_the_data_set_samples_by_class():
    labels = [0] * 7 + [1] * 6 + [2] * 10
    sampler = PairSampler(labels, 2, seed=5, sampling="class")
    assert order(make(sampling="class")) == sampler.epoch(0).tolist()


# === Order ===


@pytest.mark.parametrize("classes_per_batch", [None, 4])
def test_pairs_depend_on_seed_and_epoch_alone(classes_per_batch):
    labels = shuffled_labels([10] * 8)

    def epoch(number, seed=3):
        return PairSampler(labels, 10, 0.5, classes_per_batch, seed).epoch(number)

    sampler = PairSampler(labels, 10, 0.5, classes_per_batch, seed=3)
    later_first = [sampler.epoch(number) for number in (2, 0, 1)]
    for pairs, number in zip(later_first, (2, 0, 1), strict=True):
        np.testing.assert_array_equal(pairs, epoch(number))
    orders = [epoch(0), epoch(1), epoch(0, seed=4), epoch(1, seed=2)]
    assert len({order.tobytes() for order in orders}) == 4


def make(labels=(0,) * 7 + (1,) * 6 + (2,) * 10, **kwargs):
    """23 images; the last 3 are no whole batch."""
    arguments = {"image_size": 8, "pairs_per_batch": 2, "augment": None, "seed": 5, **kwargs}
    return pair_dataset(coloured_samples(list(labels)), **arguments)


def indices(images):
    """The indices that the colours of `coloured_samples` tell."""
    return np.asarray(images)[:, 0, 0, 1].astype(int)


def order(dataset):
    """The indices of the images in one pass over the data set, `(batches, pairs, 2)`."""
    return [np.stack([indices(a), indices(b)], -1).tolist() for (a, b), _ in dataset]


def expected_orders(epochs, seed=5):
    sampler = PairSampler([0] * 7 + [1] * 6 + [2] * 10, 2, seed=seed)
    return [sampler.epoch(number).tolist() for number in epochs]


def test_batches_hold_the_images_of_their_labels():
    batches = list(make())
    assert len(batches) == len(make()) == 5
    assert make().element_spec[0][1].shape == (2, 8, 8, 3)
    for images, labels in batches:
        for side, side_labels in zip(images, labels, strict=True):
            assert (side.dtype, side.shape) == ("uint8", (2, 8, 8, 3))
            assert (side_labels.dtype, side_labels.shape) == ("int32", (2,))
            expected = np.stack([side_labels, indices(side), [99, 99]], -1)[:, None, None]
            np.testing.assert_array_equal(side, np.broadcast_to(expected, side.shape))


def test_passes_take_one_epoch_after_the_other():
    dataset = make()
    assert [order(dataset) for _ in range(3)] == expected_orders([0, 1, 2])
    assert order(make(start_epoch=7)) == expected_orders([7])[0]
    assert order(make(seed=6)) == expected_orders([0], seed=6)[0]


def test_set_epoch_repeats_an_epoch_whatever_was_read_before():
    dataset = make(augment="crop")
    callback = SetEpoch(dataset)
    first = [np.asarray(images) for images, _ in dataset]
    next(iter(dataset))
    order(dataset)
    second = [np.asarray(images) for images, _ in dataset]
    assert not np.array_equal(first, second)
    callback.on_epoch_begin(0)
    np.testing.assert_array_equal(first, [np.asarray(images) for images, _ in dataset])


def test_one_image_twice_is_cropped_twice():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    samples = from_arrays(noise, 255 - noise)
    pairs = pair_dataset(samples, 8, pairs_per_batch=1, positive_fraction=1.0)
    (images_a, images_b), (labels_a, labels_b) = next(iter(pairs))
    assert labels_a[0] == labels_b[0]
    assert not np.array_equal(images_a, images_b)


# === Shards ===


def batches_of(dataset):
    return [tuple(np.asarray(x).tobytes() for x in (a, b, *labels)) for (a, b), labels in dataset]


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("classes_per_batch", [None, 2])
def test_shards_are_every_nth_batch_of_the_epoch(shards, classes_per_batch):
    arguments = {"augment": "crop", "start_epoch": 3, "classes_per_batch": classes_per_batch}
    whole = batches_of(make(**arguments))
    parts = [make(shard=(i, shards), **arguments) for i in range(shards)]
    assert [len(part) for part in parts] == [5 // shards] * shards
    found = [batches_of(part) for part in parts]
    # One batch of each in turn gives the epoch, crops included, but for what does not go round.
    in_turn = [batch for turn in zip(*found, strict=True) for batch in turn]
    assert in_turn == whole[: 5 // shards * shards]


def test_every_host_of_a_sharded_epoch_can_set_it():
    part = make(shard=(1, 2))
    order(part)
    SetEpoch(part).on_epoch_begin(4)
    assert order(part) == expected_orders([4])[0][1:4:2]


# === Training ===


@pytest.mark.parametrize("with_callback", [False, True])
def test_a_network_trains_on_the_pairs(with_callback):
    pairs = make(image_size=16, pairs_per_batch=4, augment="crop")
    model = uncompiled(tiny_cin(size=16))
    before = model.classifier.get_weights()[0]
    callbacks = [SetEpoch(pairs)] if with_callback else None
    history = model.fit(pairs, epochs=2, callbacks=callbacks, shuffle=False, verbose=0).history
    assert len(history["loss"]) == 2
    assert np.isfinite(history["loss"]).all()
    assert np.abs(model.classifier.get_weights()[0] - before).max() > 1e-4


def orders_of_fit(pairs, **kwargs):
    """The indices of the images that the training steps of each epoch of `fit` get."""
    batches = []

    def train_step(*args):
        *state, ((images_a, images_b), _) = args
        sides = [indices(keras.ops.convert_to_numpy(images)) for images in (images_a, images_b)]
        batches.append(np.stack(sides, -1).tolist())
        logs = {"loss": keras.ops.zeros(())}
        return (logs, *state) if state else logs

    model = tiny_cin()
    model.run_eagerly = True
    model.get_metrics_result = dict
    model.train_step = train_step
    model.fit(pairs, shuffle=False, verbose=0, **kwargs)
    return [batches[i : i + len(pairs)] for i in range(0, len(batches), len(pairs))]


@pytest.mark.every_backend
def test_every_epoch_of_fit_has_a_new_order():
    first, second = orders_of_fit(make(), epochs=2)
    assert first != second
    # Keras reads from the data set once before the first epoch on some backends.
    assert [first, second] in (expected_orders([0, 1]), expected_orders([1, 2]))


@pytest.mark.every_backend
def test_set_epoch_gives_every_epoch_of_fit_its_own_order():
    pairs = make()
    callbacks = [SetEpoch(pairs)]
    assert orders_of_fit(pairs, epochs=2, callbacks=callbacks) == expected_orders([0, 1])
    resumed = orders_of_fit(pairs, initial_epoch=4, epochs=6, callbacks=callbacks)
    assert resumed == expected_orders([4, 5])


# === Errors ===


@pytest.mark.parametrize("dataset", [image_dataset, pair_dataset])
def test_set_epoch_refuses_a_derived_data_set(dataset):
    dataset = dataset(coloured_samples([0, 0, 1, 1]), 8, 2)
    SetEpoch(dataset)
    with pytest.raises(TypeError, match="as pair_dataset or image_dataset returned it.*TakeD"):
        SetEpoch(dataset.take(1))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"pairs_per_batch": 0}, "`pairs_per_batch` must be an int of at least 1.*batch=0"),
        ({"pairs_per_batch": 2.0}, "`pairs_per_batch` must be an int of at least 1.*batch=2.0"),
        ({"pairs_per_batch": 12}, "12 pairs needs 24 images; lower.*Received: 23 images"),
        ({"positive_fraction": 1.1}, "`positive_fraction` must be a number from 0 to 1.*=1.1"),
        ({"positive_fraction": float("nan")}, "`positive_fraction` must be a number from 0 to 1"),
        ({"labels": [0] * 9}, "Negative pairs need two classes.*9 samples of 1 class"),
        ({"classes_per_batch": 0}, "`classes_per_batch` must be an int from 2 to 3"),
        ({"classes_per_batch": 1}, "an int from 2 to 3.*batch=1"),
        ({"classes_per_batch": 4}, "an int from 2 to 3.*batch=4"),
        ({"classes_per_batch": 3}, "`classes_per_batch` must divide the 4 images of a batch"),
        (
            {"classes_per_batch": 2, "pairs_per_batch": 3, "positive_fraction": 0.7},
            "2 classes × 3 images make at most 2 positive pairs a batch.*fraction=0.7",
        ),
        ({"seed": -1}, "`seed` must be an int of at least 0.*seed=-1"),
        ({"seed": "one"}, "`seed` must be an int of at least 0.*seed='one'"),
        ({"start_epoch": -1}, "`start_epoch` must be an int of at least 0"),
        ({"sampling": "classes"}, "`sampling` must be 'image' or 'class'.*sampling='classes'"),
        *(
            ({"shard": shard}, "`shard` must be None or .index, count., two ints")
            for shard in (1, (0,), (2, 2), (-1, 2), (0, 0), (0.0, 2), "01")
        ),
        ({"shard": (0, 6)}, "6 shards need at least one batch each.*5 batches of 2 pairs"),
        ({"cache": True}, "`cache` must be None, 'memory' or the path of a folder.*cache=True"),
        ({"augment": "flip"}, "`augment` must be None, 'crop' or 'randaugment'.*'flip'"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.parametrize("classes_per_batch", [None, 2])
def test_split_batches_are_together_those_of_one_host(classes_per_batch):
    samples = coloured_samples([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2])
    options = {"image_size": 8, "classes_per_batch": classes_per_batch, "seed": 3}
    whole = pair_dataset(samples, pairs_per_batch=4, **options)
    parts = [
        pair_dataset(samples, pairs_per_batch=2, shard=(i, 2), split_batches=True, **options)
        for i in range(2)
    ]
    assert [len(part) for part in parts] == [len(whole)] * 2
    for batch, *halves in zip(whole, *parts):
        for k in range(2):  # images, labels
            for side in range(2):
                together = np.concatenate([np.asarray(half[k][side]) for half in halves])
                np.testing.assert_array_equal(together, batch[k][side])
