import os
import pathlib
import tracemalloc

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras import Gallery
from cin_keras.data import Samples
from cin_keras.gallery import index, storage
from cin_keras.gallery.calibration import choose_threshold
from cin_keras.gallery.embedder import of_length_1
from cin_keras.gallery.nearest import nearest
from cin_keras.gallery.part_file import PartFile
from tests.callbacks.no_room import no_room_beyond
from tests.cli.conftest import COLOURS, colour_model, write_photograph


@pytest.fixture(scope="module")
def model():
    return colour_model()


def unit(colour):
    return np.asarray(colour, "float32") / np.linalg.norm(colour)


def flat(*colours):
    """Images of one colour each."""
    return np.tile(np.array(colours, "uint8")[:, None, None], (1, 8, 8, 1))


def samples_in(folder):
    """Six photographs of three classes, each of a colour near its class's."""
    paths, labels = [], []
    for label, (name, colour) in enumerate(COLOURS.items()):
        for i in range(2):
            near = np.clip(np.array(colour) + 5 * i, 0, 255)
            paths.append(write_photograph(folder / "in" / name / f"{i}.png", near))
            labels.append(label)
    return Samples(paths, labels, list(COLOURS))


@pytest.fixture
def samples(tmp_path):
    return samples_in(tmp_path)


@pytest.fixture
def gallery(model, samples):
    return Gallery(model, samples)


@pytest.fixture(scope="module")
def kept_gallery(model, tmp_path_factory):
    """For mistakes, after each of which it must be as before."""
    return Gallery(model, samples_in(tmp_path_factory.mktemp("gallery")))


def vectors(count, width=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype("float32")


@pytest.mark.every_backend
def test_new_classes_without_training(model, samples, tmp_path):
    gallery = Gallery(model, samples)
    assert len(gallery) == 6 and gallery.num_classes == 3
    expected = [
        unit(np.clip(np.array(c) + 5 * i, 0, 255)) for c in COLOURS.values() for i in (0, 1)
    ]
    np.testing.assert_allclose(gallery.embeddings, expected, atol=1e-5)
    yellow = write_photograph(tmp_path / "new" / "gelb.png", (240, 230, 10))
    query = flat((230, 240, 20), (10, 250, 30))
    assert gallery.classify(query).classes[1] == "grün"
    assert gallery.add(Samples([yellow], [0], ["gelb"])) == 1
    found = gallery.classify(query)
    assert found.classes == ["gelb", "grün"]
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    similarity = unit((230, 240, 20)) @ unit((240, 230, 10))
    np.testing.assert_allclose(found.similarities[0], similarity, atol=1e-5)
    # Photographs, their paths and arrays of them are one question.
    by_path = gallery.search(yellow, k=2)
    np.testing.assert_allclose(by_path.similarities[0, 0], 1, atol=1e-5)
    assert by_path.paths[0, 0] == yellow and by_path.classes[0, 0] == "gelb"
    of_array = gallery.search(flat((240, 230, 10)), k=2)
    np.testing.assert_allclose(of_array.similarities, by_path.similarities, atol=1e-5)


def test_search_is_that_of_loops():
    stored, queries = vectors(40), vectors(7, seed=1)
    gallery = Gallery.from_embeddings(3 * stored, [f"c{i % 5}" for i in range(40)])
    found = gallery.search(5 * queries, k=6)
    for i, query in enumerate(queries):
        cosines = [unit(query) @ unit(row) for row in stored]
        order = sorted(range(40), key=lambda j: -cosines[j])[:6]
        assert found.indices[i].tolist() == order
        assert found.paths[i].tolist() == [str(j) for j in order]
        assert found.classes[i].tolist() == [f"c{j % 5}" for j in order]
        np.testing.assert_allclose(found.similarities[i], sorted(cosines)[::-1][:6], atol=1e-5)


def test_a_search_looks_at_the_paths_it_finds_alone():
    """An array of all of them would be made anew for every question."""
    count = 90_000
    classes = [f"c{i % 5}" for i in range(count)]
    gallery = Gallery.from_embeddings(np.ones((count, 1)), classes)
    gallery.search([[1.0]])
    tracemalloc.start()
    found = gallery.search([[1.0]], k=3)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.paths.shape == (1, 3) and most < 8 * count
    none = gallery.search(np.empty((0, 1)), k=3)
    assert none.paths.shape == none.classes.shape == (0, 3)


@pytest.mark.parametrize("by", ["means", "nearest"])
def test_classes_and_probabilities_are_those_of_loops(by):
    stored, queries = vectors(30), vectors(9, seed=1)
    names = [f"c{i % 4}" for i in range(30)]
    gallery = Gallery.from_embeddings(stored, names, by=by, k=7)
    gallery.temperature = 0.2
    found = gallery.classify(queries)
    rows = [unit(row) for row in stored]
    for i, query in enumerate(map(unit, queries)):
        if by == "means":
            means = [unit(sum(r for r, n in zip(rows, names) if n == f"c{c}")) for c in range(4)]
            scores = [np.exp(query @ mean / 0.2) for mean in means]
            best = max(query @ mean for mean in means)
        else:
            order = sorted(range(30), key=lambda j: -(query @ rows[j]))[:7]
            scores = [
                sum(np.exp(query @ rows[j] / 0.2) for j in order if j % 4 == c) for c in range(4)
            ]
            best = query @ rows[order[0]]
        np.testing.assert_allclose(found.probabilities[i], scores / sum(scores), atol=1e-5)
        np.testing.assert_allclose(found.similarities[i], best, atol=1e-5)
        assert found.classes[i] == f"c{np.argmax(scores)}"


def test_remove_a_class_or_a_photograph(gallery, samples):
    assert gallery.remove("grün") == 2
    assert gallery.class_names == ("rot", "blau") and gallery.labels.tolist() == [0, 0, 1, 1]
    assert gallery.classify(flat(COLOURS["blau"])).classes == ["blau"]
    assert gallery.remove(samples.paths[0]) == 1
    assert gallery.paths == (samples.paths[1], *samples.paths[4:])
    np.testing.assert_allclose(gallery.embeddings[1], unit(COLOURS["blau"]), atol=1e-5)
    with pytest.raises(ValueError, match="neither a class nor a photograph 'rott'.*'rot'"):
        gallery.remove("rott")
    assert len(gallery) == 3
    gallery.remove("rot"), gallery.remove("blau")
    assert len(gallery) == 0 and gallery.num_classes == 0
    assert repr(gallery) == "Gallery(0 classes, 0 images, 3 numbers an image, by class means)"


def test_the_same_photographs_again_are_left_out(gallery, samples):
    with pytest.warns(UserWarning, match="6 photographs that the gallery has already"):
        assert gallery.add(samples) == 0
    other = Samples([os.path.relpath(samples.paths[0])], [0], ["lila"])
    with pytest.warns(UserWarning, match="1 photograph .*under another class"):
        assert gallery.add(other) == 0
    twice = Samples([samples.paths[0]] * 2, [0, 0], ["rot"])
    gallery.remove("rot")
    with pytest.warns(UserWarning, match="1 photograph that"):
        assert gallery.add(twice) == 1
    assert len(gallery) == 5
    gallery.remove("rot")
    with pytest.warns(UserWarning, match="1 photograph that .*1 of them under another class"):
        assert gallery.add(Samples([samples.paths[0]] * 2, [0, 1], ["rot", "lila"])) == 1


def test_a_photograph_that_cannot_be_decoded(model, samples, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    paths = [samples.paths[0], str(bad), samples.paths[5]]
    mixed = Samples(paths, [0, 1, 2], list(COLOURS))
    gallery = Gallery(model)
    with pytest.raises(ValueError, match="bad.png.*text"):
        gallery.add(mixed)
    assert len(gallery) == 0
    with pytest.warns(UserWarning, match="Left out 1 of 3 .*bad.png"):
        assert gallery.add(mixed, on_error="skip") == 2
    assert gallery.class_names == ("rot", "blau")
    np.testing.assert_allclose(gallery.embeddings[0], unit(COLOURS["rot"]), atol=1e-5)
    with pytest.raises(ValueError, match="bad.png"):
        gallery.search(str(bad))


@pytest.mark.every_backend
def test_a_file_brings_it_back(gallery, model, samples, tmp_path):
    gallery.by, gallery.k = "nearest", 3
    gallery.threshold = 0.5
    gallery.temperature = 0.125
    path = gallery.save(tmp_path / "gallery.npz")
    again = Gallery.load(path, model)
    assert repr(again) == repr(gallery)
    assert again.paths == gallery.paths and again.temperature == 0.125
    query = flat((200, 100, 50), (0, 0, 9))
    for before, after in zip(gallery.classify(query), again.classify(query)):
        np.testing.assert_array_equal(before, after)
    # By another way to the same model, too.
    model.save(tmp_path / "model.keras")
    Gallery.load(path, cin_keras.load_model(tmp_path / "model.keras"))
    # Without one, it takes embeddings.
    alone = Gallery.load(path)
    assert alone.search(gallery.embeddings[:1], k=1).paths[0, 0] == samples.paths[0]
    with pytest.raises(ValueError, match="must know the model"):
        alone.search(query, k=1)


def test_relative_paths_hold_from_anywhere(tmp_path, monkeypatch):
    """As noted where the gallery was saved; absolute from elsewhere, also after all has moved."""
    shop, other = tmp_path / "shop", tmp_path / "other"
    for folder in (shop / "photos", shop / "galleries", other):
        folder.mkdir(parents=True)
    (shop / "photos" / "a.jpg").touch()
    monkeypatch.chdir(shop)
    paths = [os.path.join("photos", "a.jpg"), os.path.join("photos", "gone.jpg")]
    made = Gallery.from_embeddings(np.eye(2), ["cat", "dog"], paths)
    made.save("galleries/known.npz")
    Gallery.from_embeddings(np.eye(2), ["cat", "dog"]).save("galleries/names.npz")
    assert Gallery.load("galleries/known.npz").paths == made.paths
    monkeypatch.chdir(other)
    found = Gallery.load("../shop/galleries/known.npz")
    assert found.paths == tuple(os.path.join(os.path.realpath(shop), path) for path in paths)
    assert found.remove("../shop/photos/a.jpg") == 1
    assert Gallery.load("../shop/galleries/names.npz").paths == ("0", "1")
    # The file alone has moved: from the folder of the photographs, all is as it was.
    (other / "known.npz").write_bytes((shop / "galleries" / "known.npz").read_bytes())
    monkeypatch.chdir(shop)
    assert Gallery.load("../other/known.npz").paths == made.paths
    monkeypatch.chdir(other)
    shop.rename(tmp_path / "moved")
    found = Gallery.load("../moved/galleries/known.npz")
    assert os.path.exists(found.paths[0])
    found.save("known.npz")  # absolute ones stay
    assert Gallery.load("known.npz").paths == found.paths
    # What is added from elsewhere moves with the others.
    (tmp_path / "moved" / "photos" / "b.jpg").touch()
    found.add_embeddings([[1, 1]], ["cat"], ["../moved/photos/b.jpg"])
    found.save("../moved/galleries/known.npz")
    monkeypatch.chdir((tmp_path / "moved").rename(tmp_path / "again"))
    paths.append(os.path.join("photos", "b.jpg"))
    assert Gallery.load("galleries/known.npz").paths == tuple(paths)


@pytest.mark.parametrize("there", ["photos/b.jpg", "shards/train.tfrecord"])
def test_relative_paths_hold_where_some_are_gone(tmp_path, monkeypatch, there):
    """A photograph that was there, or the shard that holds one, says which folder is meant."""
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).touch()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    paths = ["gone.jpg", there + "/cat/1.jpg" * there.endswith("d")]
    Gallery.from_embeddings(np.eye(2), ["cat", "dog"], paths).save("known.npz")
    monkeypatch.chdir("other")
    found = Gallery.load("../known.npz").paths
    assert found == tuple(os.path.join(os.path.realpath(tmp_path), path) for path in paths)


def test_embeddings_of_any_length_are_compared():
    gallery = Gallery.from_embeddings([[3e38, 3e38], [1e-30, 0]], ["both", "first"])
    np.testing.assert_allclose(gallery.embeddings, [[0.5**0.5] * 2, [1, 0]], rtol=1e-6)
    found = gallery.search([[1e30, 1e30], [1e-35, 0]], k=1)
    assert found.classes.tolist() == [["both"], ["first"]]
    np.testing.assert_allclose(found.similarities, 1, rtol=1e-6)
    brief = keras.ops.cast([[1.0, 2.0]], "bfloat16")
    assert gallery.search(keras.ops.convert_to_numpy(brief), k=1).classes.tolist() == [["both"]]


def test_numbers_for_names_never_meet_those_that_are_there():
    gallery = Gallery.from_embeddings([[1, 0], [0.9, 0.1], [0, 1]], ["cat", "cat", "dog"])
    gallery.remove("0")
    gallery.add_embeddings([[1, 1], [1, 2]], ["cat", "owl"])
    assert gallery.paths == ("1", "2", "3", "4")


def test_paths_come_from_whatever_has_an_order():
    gallery = Gallery.from_embeddings(np.eye(2), ["a", "b"], (f"{i}.jpg" for i in range(2)))
    gallery.add_embeddings([[1, 1]], ["a"], [pathlib.Path("c.jpg")])
    assert gallery.paths == ("0.jpg", "1.jpg", "c.jpg")


def test_a_file_of_a_later_version_is_named(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "VERSION", 2)
    path = gallery.save(tmp_path / "later.npz")
    monkeypatch.undo()
    with np.load(path) as file:
        about = file["about"]
    np.savez(tmp_path / "other_arrays.npz", vectors=gallery.embeddings, about=about)
    for later in (path, tmp_path / "other_arrays.npz"):
        with pytest.raises(ValueError, match="version 2 of its form, and this cin_keras reads 1: use"):
            Gallery.load(later)
    for name, value in {"model_path": 5, "model_hash": 5, "image_size": "ab"}.items():
        kept = getattr(gallery, name)
        setattr(gallery, name, value)
        with pytest.raises(ValueError, match="is damaged: write it again"):
            Gallery.load(gallery.save(tmp_path / "changed.npz"))
        setattr(gallery, name, kept)


def test_another_model_is_refused(gallery, samples, tmp_path):
    path = gallery.save(tmp_path / "gallery.npz")
    other = colour_model(interaction="phi")
    with pytest.raises(ValueError, match="made with another model") as error:
        Gallery.load(path, other)
    assert gallery.model_hash in str(error.value) and "\n" not in str(error.value)
    # Also one of another size, which says nothing of an `image_size` that nobody gave.
    with pytest.raises(ValueError, match="made with another model"):
        Gallery.load(path, colour_model(size=16, interaction="phi"))
    # Trained further, it is another one.
    other.interaction.phi.kernel.assign(np.ones(other.interaction.phi.kernel.shape))
    changed = Gallery(other)
    other.interaction.phi.kernel.assign(np.zeros(other.interaction.phi.kernel.shape))
    with pytest.raises(ValueError, match="has changed since"):
        changed.add(samples)
    changed.add_embeddings([[1, 0, 0]], ["rot"])
    image, path = flat((1, 2, 3)), tmp_path / "changed.npz"
    for call in (lambda: changed.classify(image), lambda: changed.embed(samples)):
        with pytest.raises(ValueError, match="has changed since"):
            call()
    with pytest.raises(ValueError, match="has changed since"):
        changed.save(path)
    assert not path.exists()


@pytest.mark.every_backend
def test_few_numbers_of_large_weights_are_brought_from_the_device(monkeypatch):
    monkeypatch.setattr("cin_keras.gallery.embedder.BROUGHT_WHOLE", 64)
    images = keras.Input((8, 8, 3))
    backbone = keras.Model(images, keras.layers.Conv2D(64, 3, name="conv")(images))
    model = cin_keras.CIN(3, backbone, input_shape=(8, 8, 3), interaction=None, contrast=None)
    gallery, sizes, convert = Gallery(model), [], keras.ops.convert_to_numpy

    def counted(value):
        sizes.append(np.prod(value.shape))
        return convert(value)

    monkeypatch.setattr(keras.ops, "convert_to_numpy", counted)
    gallery._embedder.check_unchanged()
    assert sorted(sizes) == [8, 64], "of the kernel, and the bias"
    conv = model.backbone.get_layer("conv")
    for weight in (conv.bias, conv.kernel):
        gallery = Gallery(model)
        weight.assign(weight + 1)
        with pytest.raises(ValueError, match="has changed since"):
            gallery.embed(np.ones((1, 8, 8, 3)))


def test_the_hash_is_that_of_what_makes_embeddings(model):
    here = Gallery(model).model_hash
    model.classifier.kernel.assign(2 * model.classifier.get_weights()[0])
    assert Gallery(model).model_hash == here
    assert Gallery(colour_model(class_names=None)).model_hash == here
    assert Gallery(colour_model(interaction="sci")).model_hash != here
    once = Gallery(colour_model(interaction="sci")).model_hash
    assert Gallery(colour_model(interaction="pos_sci")).model_hash != once


def test_a_file_that_does_not_fit_is_not_called_damaged(gallery, tmp_path, monkeypatch):
    path = gallery.save(tmp_path / "g.npz")

    def full(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(np, "load", full)
    with pytest.raises(MemoryError, match="not enough memory for the gallery '.*g.npz'.* bytes"):
        Gallery.load(path)


@pytest.mark.parametrize("kind", ["cut", "text", "other", "pickle", "arrays", "changed", "folder"])
def test_a_damaged_file_is_one_sentence(gallery, tmp_path, kind):
    path = gallery.save(tmp_path / "gallery.npz")
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_text("no gallery")
    elif kind == "other":
        np.savez(path, embeddings=np.ones((2, 3), "float32"))
    elif kind == "pickle":
        np.savez(path, about=np.array([print], object))
    elif kind == "arrays":
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **{**arrays, "labels": arrays["labels"] + 1})
    elif kind == "changed":
        at = content.index(gallery.embeddings.tobytes())
        path.write_bytes(content[:at] + b"\xff" * 8 + content[at + 8 :])
    else:
        path.unlink(), path.mkdir()
    with pytest.raises(ValueError) as error:
        Gallery.load(path)
    assert "gallery.npz" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        Gallery.load(tmp_path / "gone.npz")


def test_a_file_is_written_whole(gallery, tmp_path, monkeypatch):
    path = gallery.save(tmp_path / "gallery.npz")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        gallery.save(path)
    assert path.read_bytes() == before and len(list(tmp_path.glob("*.npz"))) == 1
    with pytest.raises(ValueError, match="'.npz'"):
        gallery.save(tmp_path / "gallery.pkl")


def test_who_is_broken_off_goes_on(model, samples, tmp_path, monkeypatch):
    part, whole = tmp_path / "part", Gallery(model, samples)
    gallery = Gallery(model, batch_size=2)
    of_batch, calls = type(gallery._embedder).of_batch, []

    def broken_off(self, images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return of_batch(self, images)

    monkeypatch.setattr(type(gallery._embedder), "of_batch", broken_off)
    with pytest.raises(KeyboardInterrupt):
        gallery.add(samples, resume_file=part)
    assert len(gallery) == 0
    with open(part, "ab") as file:
        file.write(b"\0\0\0")  # half a number
    again = Gallery(model, batch_size=2)
    assert again.add(samples, resume_file=part) == 6
    assert sum(calls) - 2 == 6  # the batch that was broken off was begun twice
    np.testing.assert_allclose(again.embeddings, whole.embeddings, atol=1e-6)
    # All there: nothing is done again.
    third = Gallery(model)
    third.add(samples, resume_file=part)
    assert sum(calls) - 2 == 6 and third.paths == whole.paths
    np.testing.assert_array_equal(third.embeddings, again.embeddings)
    with pytest.raises(ValueError, match="other photographs"):
        Gallery(model).add(samples.subset([0, 1]), resume_file=part)
    os.utime(samples.paths[0], (1, 1))
    with pytest.raises(ValueError, match="of some that have changed since"):
        Gallery(model).add(samples, resume_file=part)


def test_of_two_who_do_the_same_each_writes_rows_at_their_place(tmp_path):
    rows = np.arange(12, dtype="float32").reshape(6, 2)
    one, other = (PartFile(tmp_path / "part", {}, width=2) for _ in range(2))
    for file in (one, other):
        for at in (0, 2):
            file.write(rows[at : at + 2], at)
    np.testing.assert_array_equal(one.read(), rows[:4])
    (tmp_path / "part").unlink()
    with pytest.raises(OSError, match="part' cannot be written .No such file"):
        one.write(rows[4:], 4)
    PartFile(tmp_path / "part", {}, width=2)
    with pytest.raises(ValueError, match="part' was begun anew by another process.*run this again"):
        one.write(rows[4:], 4)


def test_a_part_that_cannot_be_written_is_named(model, samples, tmp_path):
    with no_room_beyond(10), pytest.raises(OSError, match="part' cannot be written .File too large.*room"):
        Gallery(model).add(samples, resume_file=tmp_path / "part")


def test_a_bad_photograph_stays_one_when_going_on(model, samples, tmp_path):
    with open(samples.paths[1], "wb"):
        pass
    part = tmp_path / "part"
    for _ in range(2):
        gallery = Gallery(model)
        with pytest.warns(UserWarning, match="Left out 1 of 6 .*the file is empty"):
            assert gallery.add(samples, on_error="skip", resume_file=part) == 5
    with pytest.raises(ValueError, match="the file is empty"):
        Gallery(model).add(samples, resume_file=part)


def spread(classes, each, seed, first=0, width=16):
    """Embeddings near a direction for each class: `(embeddings, names)`."""
    centres = vectors(classes + first, width, seed=9)[first:]
    rng = np.random.default_rng(seed)
    noisy = np.repeat(centres, each, axis=0) + rng.normal(size=(classes * each, width))
    return noisy, [f"c{first + i // each}" for i in range(classes * each)]


class GivenEmbeddings:
    """An `Embedder` that says the same of whatever it is shown."""

    def __init__(self, embeddings):
        self.embeddings = of_length_1(embeddings)

    def check_unchanged(self):
        pass

    def of_samples(self, *args):
        return self.embeddings, {}


@pytest.mark.parametrize("by", ["means", "nearest"])
@pytest.mark.parametrize("unknown", [True, False])
def test_calibration_keeps_the_false_alarm_rate(monkeypatch, by, unknown):
    gallery = Gallery.from_embeddings(*spread(8, 10, seed=0), by=by)
    embeddings, names = spread(8, 30, seed=1)
    if unknown:
        others, other_names = spread(8, 30, seed=2, first=8)
        embeddings, names = np.concatenate([embeddings, others]), names + other_names
    classes = sorted(set(names))
    labels = [classes.index(name) for name in names]
    samples = Samples([f"{i}.jpg" for i in range(len(names))], labels, classes)
    monkeypatch.setattr(gallery, "_embedder", GivenEmbeddings(embeddings))
    found = gallery.calibrate(samples, false_alarm_rate=0.1)
    assert found.threshold == gallery.threshold
    assert 0.05 < found.false_alarm_rate <= 0.1
    assert found.pretended is not unknown
    assert (found.known, found.unknown) == (240, 240)
    named = gallery.classify(embeddings[:240])
    right = [a == b for a, b in zip(named.classes, names)]
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.known_refused == pytest.approx(np.mean([c is None for c in named.classes]))
    assert found.accuracy <= found.accuracy_without <= 1
    assert 0.6 < found.auroc < 1
    if unknown:
        wrong = gallery.classify(embeddings[240:])
        alarms = np.mean([name is not None for name in wrong.classes])
        assert found.false_alarm_rate == pytest.approx(alarms)
    for words in (f"{found.threshold:.3f}", f"{found.known_refused:.1%}", "AUROC"):
        assert words in str(found)
    # Stricter: fewer false alarms, and more of the known refused.
    strict = gallery.calibrate(samples, false_alarm_rate=0.01)
    assert strict.threshold > found.threshold and strict.known_refused > found.known_refused
    assert gallery.calibrate(samples, false_alarm_rate=1).known_refused == 0
    # A calibration is one way's.
    gallery.by = "nearest" if by == "means" else "means"
    assert gallery.threshold is None


def test_a_photograph_that_is_most_like_another_class_counts_for_both_sides_alike(monkeypatch):
    """By its own class or without it the nearest is the same: also in the last bit."""
    rng = np.random.default_rng(0)
    names = [str(i % 10) for i in range(200)]
    gallery = Gallery.from_embeddings(of_length_1(rng.normal(size=(200, 33))), names)
    monkeypatch.setattr(gallery, "_embedder", GivenEmbeddings(of_length_1(rng.normal(size=(200, 33)))))
    labels = [int(name) for name in names]
    samples = Samples([f"new {i}.jpg" for i in range(200)], labels, list("0123456789"))
    given = {}

    def record(known, unknown):
        given.update(known=known, unknown=unknown)
        return 0.5

    monkeypatch.setattr("cin_keras.gallery.gallery.auroc", record)
    right = gallery.calibrate(samples).accuracy_without
    assert 0 < right < 0.5
    assert np.mean(given["known"] == given["unknown"]) == pytest.approx(1 - right)


def test_calibration_asks_what_classify_asks(monkeypatch):
    """An index has similarities in half precision, of which some lie at the other side."""

    class Rounded:
        def __init__(self, vectors):
            self.vectors = vectors

        def nearest(self, queries, k):
            similarities, indices = nearest(queries, self.vectors, k)
            return similarities.astype("float16").astype("float32"), indices

    monkeypatch.setattr(index, "LARGE", 10)
    monkeypatch.setattr(index, "faiss_is_here", lambda: True)
    monkeypatch.setattr(index, "CellIndex", Rounded)
    gallery = Gallery.from_embeddings(*spread(8, 10, seed=0), by="nearest")
    embeddings = np.concatenate([spread(8, 30, seed=1)[0], spread(8, 30, seed=2, first=8)[0]])
    labels = np.repeat(np.arange(16), 30)
    samples = Samples([f"{i}.jpg" for i in range(480)], labels, [f"c{i}" for i in range(16)])
    monkeypatch.setattr(gallery, "_embedder", GivenEmbeddings(embeddings))
    found = gallery.calibrate(samples, false_alarm_rate=0.1)
    unknown = gallery.classify(embeddings[240:]).similarities
    assert found.threshold == choose_threshold(unknown, 0.1)


def test_calibration_sets_probabilities_right(monkeypatch):
    gallery = Gallery.from_embeddings(*spread(8, 10, seed=0))
    embeddings, names = spread(8, 100, seed=1)
    samples = Samples(
        [f"{i}.jpg" for i in range(800)], [int(n[1:]) for n in names], [f"c{i}" for i in range(8)]
    )
    monkeypatch.setattr(gallery, "_embedder", GivenEmbeddings(embeddings))
    gallery.calibrate(samples)
    found = gallery.classify(embeddings)
    right = found.probabilities.argmax(axis=1) == samples.labels
    assert found.probabilities.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.03)


def test_calibration_takes_no_photograph_that_is_known(gallery, samples, tmp_path):
    with pytest.raises(ValueError, match="not in the gallery.*6 such"):
        gallery.calibrate(samples)
    new = write_photograph(tmp_path / "new.png", (1, 2, 3))
    with pytest.raises(ValueError, match="No photograph is of a class that the gallery has"):
        gallery.calibrate(Samples([new], [0], ["lila"]))
    with pytest.raises(ValueError, match="two classes"):
        Gallery.from_embeddings(np.eye(2), ["a", "a"]).calibrate(samples)
    with pytest.raises(ValueError, match="`false_alarm_rate`"):
        gallery.calibrate(Samples([new], [0], ["rot"]), false_alarm_rate=5)


def test_what_cannot_be_read_is_left_out_of_a_calibration(gallery, tmp_path):
    paths = [write_photograph(tmp_path / f"{i}.png", (9, 200, 70)) for i in range(4)]
    names = ["rot", "grün", "lila"]
    samples = Samples(paths, [0, 1, 2, 2], names)
    expected = gallery.calibrate(samples.subset([1, 2]))
    for path in (paths[0], paths[3]):
        pathlib.Path(path).write_bytes(b"")
    with pytest.raises(ValueError, match="the file is empty"):
        gallery.calibrate(samples)
    with pytest.warns(UserWarning, match="Left out 2 of 4 photographs"):
        assert gallery.calibrate(samples, on_error="skip") == expected
    assert list(gallery.skipped) == [paths[0], paths[3]]
    pathlib.Path(paths[1]).write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="No photograph of a class that"):
        gallery.calibrate(samples, on_error="skip")
    with pytest.raises(ValueError, match="on_error"):
        gallery.calibrate(samples, on_error="leave")


def test_none_of_these():
    gallery = Gallery.from_embeddings(np.eye(3), ["a", "b", "c"])
    query = [[1.0, 0, 0], [1, 1, 1]]
    assert gallery.classify(np.array(query)).classes[0] == "a"
    gallery.threshold = 0.9
    assert gallery.classify(np.array(query)).classes == ["a", None]
    assert repr(gallery).endswith("by class means, none of these below 0.900)")


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda g: g.search(np.ones((1, 3)), k=7), "`k` must be an int from 1 to 6"),
        (lambda g: g.search(np.ones((1, 3)), k=0), "`k` must be an int"),
        (lambda g: g.search(np.ones((1, 4))), r"shape \(images, 3\)"),
        (lambda g: g.classify(np.full((1, 3), np.nan)), "finite.*row 0"),
        (lambda g: g.classify(np.zeros((1, 8, 9, 3))), r"\(images, 8, 8, 3\)"),
        (lambda g: g.classify(np.zeros((8, 8, 3))), r"images\[None\]"),
        (lambda g: g.classify("gone.jpg"), "no such file"),
        (lambda g: g.add("photographs"), "must be Samples"),
        (lambda g: g.add_embeddings(np.ones((1, 4)), ["a"]), r"shape \(images, 3\)"),
        (lambda g: g.add_embeddings([[1, np.inf, 0]], ["a"]), "finite"),
        (lambda g: g.add_embeddings(np.ones((2, 3)), ["a"]), "`classes` must hold one for each"),
        (lambda g: g.add_embeddings(np.ones((2, 3)), ["a", "b"], ["x", "x"]), "'x' twice"),
        (lambda g: g.add_embeddings([["a", "b", "c"]], ["a"]), "must be an array of numbers"),
        (lambda g: g.add_embeddings([[1.0], [1.0, 2.0]], ["a", "b"]), "must be an array of numbers"),
        (lambda g: g.add_embeddings([[1.0] * 3], [None]), "`classes` must be names.*None among 1"),
        (lambda g: g.add_embeddings([[1.0] * 3], ["a\0b"]), "`classes` must be names"),
        (lambda g: g.add_embeddings([[1.0] * 3], {"a"}), "`classes` must be a list, which has an"),
        (lambda g: g.search([[1e200] * 3]), "finite in float32"),
        (lambda g: g.classify([[0.0] * 3]), "not 0 alone"),
        (lambda g: g.search(np.full((1, 8, 8, 3), np.nan)), "must be finite"),
        (lambda g: g.search(np.full((1, 8, 8, 3), "a")), "must be an array of numbers"),
        (lambda g: g.search([1.0, 0.0, 0.0]), r"a batch, images\[None\]"),
        (lambda g: setattr(g, "temperature", 0), "`temperature` must be a number of at least 1e-06"),
        (lambda g: setattr(g, "temperature", "hot"), "`temperature` must be a number of at least"),
        (lambda g: g.add_embeddings([[1.0] * 3], ["a"], [None]), "`paths` must be names"),
        (lambda g: g.add_embeddings([[1.0] * 3], ["a"], {"x"}), "`paths` must be a list, which has"),
        (lambda g: g.add_embeddings([[1.0] * 3], ["a"], {"x": 1}), "`paths` must be a list, which has"),
        (lambda g: g.add_embeddings([[1.0] * 3], ["a"], [""]), "`paths` must be names"),
        (lambda g: g.save(None), "`path` must be a path"),
        (lambda g: Gallery.load(None), "`path` must be a path"),
        (lambda g: g.remove("lila"), "neither a class"),
        (lambda g: setattr(g, "by", "votes"), "`by` must be 'means' or 'nearest'"),
        (lambda g: setattr(g, "threshold", np.nan), "`threshold`"),
        (lambda g: Gallery("model.keras"), "must be a cin_keras.CIN or NTS"),
        (lambda g: Gallery(colour_model(), image_size=9), "`image_size` must be that"),
        (lambda g: Gallery().search(np.ones((1, 3))), "The gallery is empty"),
        (lambda g: Gallery().classify(np.ones((1, 3))), "The gallery is empty"),
        (lambda g: Gallery().add(Samples(["a.jpg"], [0], ["a"])), "must know the model"),
    ],
)
def test_a_mistake_gets_one_sentence(kept_gallery, ask, words):
    with pytest.raises(ValueError, match=words) as error:
        ask(kept_gallery)
    assert "\n" not in str(error.value) and len(kept_gallery) == 6


def test_a_broken_model_says_so(samples):
    model = colour_model(interaction="phi")
    model.interaction.phi.bias.assign(np.full(3, np.nan))
    with pytest.raises(FloatingPointError, match="not finite"):
        Gallery(model, samples)


def test_a_network_of_any_size(samples):
    images = keras.Input((None, None, 3))
    backbone = keras.Model(images, keras.layers.AveragePooling2D(2)(images))
    model = cin_keras.CIN(3, backbone, input_shape=(None, None, 3), interaction=None, contrast=None)
    with pytest.raises(ValueError, match="give `image_size`"):
        Gallery(model)
    gallery = Gallery(model, samples, image_size=(6, 4))
    assert gallery.classify(np.tile(flat(COLOURS["rot"]), (1, 2, 1, 1))).classes == ["rot"]


def test_an_index_finds_what_looking_at_all_finds(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(index, "LARGE", 50)
    stored, names = spread(20, 30, seed=0)
    queries, _ = spread(20, 2, seed=1)
    gallery = Gallery.from_embeddings(stored, names)
    exact = Gallery.from_embeddings(stored, names, exact=True)
    found, expected = gallery.search(queries, k=10), exact.search(queries, k=10)
    assert gallery._index is not None and exact._index is None
    same = [len(set(a) & set(b)) for a, b in zip(found.indices, expected.indices)]
    assert sum(same) >= 0.99 * 10 * len(queries)
    np.testing.assert_allclose(found.similarities[:, 0], expected.similarities[:, 0], atol=2e-3)
    # More than lie in a few cells, and none that was taken out.
    monkeypatch.setattr(index, "CELLS", 1)
    assert sorted(gallery.search(queries[:1], k=600).indices[0]) == list(range(600))
    gallery.remove("c0")
    assert "c0" not in gallery.search(queries[:1], k=10).classes


def test_without_the_library_all_are_looked_at(monkeypatch):
    monkeypatch.setattr(index, "LARGE", 3)
    monkeypatch.setattr(index.importlib.util, "find_spec", lambda name: None)
    gallery = Gallery.from_embeddings(np.eye(4), list("abcd"))
    with pytest.warns(UserWarning, match=r"pip install faiss-cpu"):
        assert gallery.search(np.eye(4)[2:3], k=1).classes.tolist() == [["c"]]


def test_a_gallery_of_an_nts():
    images = keras.Input((16, 16, 3))
    backbone = keras.Model(images, keras.layers.Conv2D(4, 4, strides=4)(images))
    model = cin_keras.NTS(3, backbone, input_shape=(16, 16, 3), parts=2, concatenated=1)
    gallery = Gallery(model)
    shown = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    gallery.add_embeddings(gallery.embed(shown), ["a", "b", "c"])
    assert gallery.classify(shown).classes == ["a", "b", "c"]


@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize("by", ["means", "nearest"])
def test_which_part_decided(by, gallery):
    gallery.by = by
    gallery.threshold = 2.0  # nothing is known: the classes are compared all the same
    image = flat(COLOURS["rot"])
    image[0, :, 4:] = COLOURS["blau"]
    image[0, 4:, 4:] = COLOURS["rot"]
    found = gallery.class_contrast(image)
    assert (found.classes, found.others) == (["rot"], ["blau"]) and found.maps.shape == (1, 2, 2)
    assert found.maps[0].argmin() == 1 and found.maps[0, 0, 1] < 0 < found.maps[0, 0, 0]
    # The mean is the difference of the two similarities.
    own = gallery.embed(image)[0]
    similarities = []
    for name in ("rot", "blau"):
        of_class = gallery.embeddings[gallery.labels == gallery.class_names.index(name)]
        mean = of_class.mean(axis=0) / np.linalg.norm(of_class.mean(axis=0))
        similarities.append(own @ mean if by == "means" else (of_class @ own).max())
    expected = similarities[0] - similarities[1]
    np.testing.assert_allclose(found.maps.mean(), expected, atol=1e-5)


def test_which_part_decided_of_one_class(gallery):
    gallery.remove("grün")
    gallery.remove("blau")
    found = gallery.class_contrast(flat(COLOURS["rot"], COLOURS["blau"]))
    assert (found.classes, found.others) == (["rot", "rot"], [None, None])
    np.testing.assert_allclose(
        found.maps.mean(axis=(1, 2)),
        gallery.embed(flat(COLOURS["rot"], COLOURS["blau"])) @ gallery._class_means()[0],
        atol=1e-5,
    )
    with pytest.raises(ValueError, match="must know the model"):
        Gallery.from_embeddings(vectors(3), list("abc")).class_contrast(flat(COLOURS["rot"]))
