import numpy as np
import pytest
from PIL import Image

from cin_keras.data import PairSampler, Samples
from cin_keras.data.cropping import resize
from cin_keras.measuring import feeding
from cin_keras.measuring.feeding import random_labels, random_photographs


@pytest.mark.parametrize("long_tail", [False, True])
def test_every_image_has_a_class_and_every_class_images(long_tail):
    labels = random_labels(5003, 50, long_tail)
    sizes = np.sort(np.bincount(labels, minlength=50))
    assert sizes.sum() == 5003 and sizes[0] >= 1
    assert sizes[-1] / sizes[0] > 20 if long_tail else sizes[-1] - sizes[0] <= 2
    assert (labels == random_labels(5003, 50, long_tail)).all()
    assert (labels != random_labels(5003, 50, long_tail, seed=1)).any()
    assert len(random_labels(20, 50)) == 20


def test_photographs_differ(tmp_path):
    paths = random_photographs(tmp_path, 3, width=40, height=30)
    assert [path.name for path in paths] == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert {Image.open(path).size for path in paths} == {(40, 30)}
    assert len({path.read_bytes() for path in paths}) == 3


def test_the_bare_loop_reads_every_photograph_once(tmp_path, monkeypatch):
    paths = random_photographs(tmp_path, 3, width=40, height=30)
    opened = []
    original = Image.open
    monkeypatch.setattr(feeding.Image, "open", lambda path: opened.append(path) or original(path))
    feeding.decode_and_resize(paths, image_size=8, threads=2)
    assert sorted(opened) == sorted(paths)


def test_a_photograph_that_cannot_be_read_ends_the_bare_loop(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(OSError):
        feeding.decode_and_resize([tmp_path / "broken.jpg"], image_size=8, threads=1)


def test_every_pair_of_an_epoch_counts(monkeypatch):
    passes = []

    def seconds(run, *args):
        passes.append((run, args))
        return 2.0

    monkeypatch.setattr(feeding, "seconds", seconds)
    sampler = PairSampler(random_labels(40, 4), 4)
    found = feeding.time_sampler(lambda: sampler, pairs_per_batch=4, epoch=0)
    pairs = 4 * len(sampler)
    assert found == {"build, s": 2, "pairs/s": pairs / 2, "pairs/s through tf.data": pairs / 2}
    read_all, (places,) = passes[2]
    batches = list(places)
    assert read_all is feeding.read_all and len(batches) == len(sampler)
    assert [index for batch in batches for index in batch.numpy()[:, 2]] == sampler.epoch(
        0
    ).reshape(-1).tolist()


def test_ratios_are_taken_round_by_round():
    # Twice as fast in every round, however fast the round is.
    speeds = iter([10, 20, 20, 20, 20, 40, 80, 80, 80, 80])
    found = {name: [] for name in (feeding.BARE, *"abcd")}
    for _ in range(2):
        for rounds in found.values():
            speed = next(speeds)
            rounds.append({"images/s": speed, "ratio to the bare loop": speed})
    feeding.against_the_bare_loop(found)
    ratios = [[r["ratio to the bare loop"] for r in rounds] for rounds in found.values()]
    assert ratios == [[1, 1], *[[2, 2]] * 4]


def test_samplers_and_pipelines_are_told_apart_by_what_they_measure(tmp_path):
    labels = feeding.usual_labels(40, 4, seed=1)
    assert (labels["long tail"][0] == labels["long tail, by class"][0]).all()
    variants = feeding.sampler_variants(labels, pairs_per_batch=2, classes_per_batch=2)
    assert list(variants) == [x for name in labels for x in (name, f"{name}, 2 a batch")]
    found = variants["equal classes"](0)
    assert 0 < found["bytes/image, held"] < found["at most"] and found["pairs/s"] > 0
    paths = random_photographs(tmp_path, 9, width=40, height=30)
    samples = Samples(paths, np.arange(9) % 2, ["even", "odd"])
    readers = feeding.reading_variants(samples, 16, 2, 1, tmp_path)
    assert list(readers)[0] == feeding.BARE and len(readers) == 6
    assert all(min(read(0).values()) > 0 for read in readers.values())


def test_tf_data_does_what_image_dataset_does(tmp_path):
    paths = feeding.random_photographs(tmp_path, 6, width=48, height=40)
    samples = Samples(paths, range(6), list("abcdef"))
    batches = [(np.asarray(x), np.asarray(y)) for x, y in feeding.with_tf_data(samples, 28, 4)]
    assert [images.shape for images, _ in batches] == [(4, 28, 28, 3), (2, 28, 28, 3)]
    labels = np.concatenate([y for _, y in batches])
    assert sorted(labels) == list(range(6)) and labels.tolist() != list(range(6))
    for image, label in zip(np.concatenate([x for x, _ in batches]), labels):
        whole = resize(samples.read(int(label)), 28, 28).astype(int)
        differences = [
            np.abs(window - whole[top:, left:][:28, :28]).mean()
            for window in (image, image[:, ::-1])
            for top in range(5)
            for left in range(5)
        ]
        assert min(differences) < 2
