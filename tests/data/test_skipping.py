import threading
import types
import warnings

import numpy as np
import pytest

from cin_keras.data import (
    PairSampler,
    ReportSkipped,
    Samples,
    SetEpoch,
    SkippedImages,
    image_dataset,
    pair_dataset,
)
from cin_keras.data import samples as samples_module
from cin_keras.data.skipping import replacements
from tests import processes
from tests.data.small_sets import coloured_samples
from tests.models.networks import tiny_cin

LABELS = [0] * 7 + [1] * 6 + [2] * 10
BAD = (2, 9, 10, 22)

pytestmark = pytest.mark.filterwarnings("ignore:Left out")


@pytest.fixture(autouse=True)
def no_report_at_the_end(monkeypatch):
    """Keeps the lists of these tests out of the end of the test run."""
    silent = types.SimpleNamespace(finalize=lambda *args: None)
    monkeypatch.setattr("cin_keras.data.skipping.weakref", silent)


def spoiled(bad=BAD, labels=LABELS):
    """Images whose green is their index, of which those in `bad` cannot be decoded."""
    good = coloured_samples(list(labels))
    encoded = [b"spoiled" if i in bad else image for i, image in enumerate(good.encoded)]
    return Samples(good.paths, good.labels, good.class_names, encoded=encoded)


def make_pairs(bad=BAD, labels=LABELS, **kwargs):
    arguments = {"image_size": 8, "pairs_per_batch": 2, "augment": None, "on_error": "skip"}
    return pair_dataset(spoiled(bad, labels), **{**arguments, **kwargs})


def indices(images):
    return np.asarray(images)[:, 0, 0, 1].astype(int)


def shown(pairs):
    """The indices of the images of one pass, `(pairs, 2)`; checks their labels."""
    rows = []
    for images, labels in pairs:
        assert {x.shape for x in images} == {(2, 8, 8, 3)}
        for side, side_labels in zip(images, labels, strict=True):
            np.testing.assert_array_equal(np.asarray(side)[:, 0, 0, 0], side_labels)  # red
        rows.append(np.stack([indices(side) for side in images], -1))
    return np.concatenate(rows)


# === Pairs ===


def test_another_of_the_class_stands_in_and_all_else_stays():
    pairs = make_pairs()
    stand_ins = set()
    for epoch in range(4):
        planned = PairSampler(LABELS, 2).epoch(epoch).reshape(-1, 2)
        seen = shown(pairs)
        assert len(seen) == 2 * len(pairs) == len(planned)
        bad = np.isin(planned, BAD)
        np.testing.assert_array_equal(seen[~bad], planned[~bad])
        assert bad.any() and not np.isin(seen, BAD).any()
        labels = np.array(LABELS)
        np.testing.assert_array_equal(labels[seen], labels[planned])
        assert (seen[:, 0] != seen[:, 1]).all()  # every class has enough photographs
        stand_ins |= set(seen[bad])
    assert len(stand_ins) > 3  # not always the same
    assert sorted(pairs.skipped.reasons) == list(BAD)


@pytest.mark.parametrize("augment", [None, "crop"])
def test_an_epoch_depends_on_seed_and_number_alone(augment):
    def epoch(pairs):
        return np.concatenate([np.stack(images, 1) for images, _ in pairs])

    pairs = make_pairs(augment=augment)
    first, second = epoch(pairs), epoch(pairs)
    SetEpoch(pairs).on_epoch_begin(1)
    np.testing.assert_array_equal(epoch(pairs), second)
    np.testing.assert_array_equal(epoch(make_pairs(augment=augment, start_epoch=1)), second)
    np.testing.assert_array_equal(epoch(make_pairs(augment=augment)), first)
    assert not np.array_equal(epoch(make_pairs(augment=augment, seed=1)), first)


def test_without_bad_images_nothing_changes():
    seen = shown(make_pairs(bad=()))
    np.testing.assert_array_equal(seen, shown(make_pairs(bad=(), on_error="raise")))


@pytest.mark.parametrize(
    "bad, allowed",
    [
        ((0, 1), {(2, 3), (3, 2)}),  # both replaced, by two
        ((0, 1, 2), {(3, 3)}),  # one is left: twice the same, as in a class of one
    ],
)
def test_few_good_ones_in_a_class(bad, allowed):
    labels = [0] * 4 + [1] * 4
    for epoch in range(6):
        pairs = make_pairs(bad, labels, positive_fraction=1.0, start_epoch=epoch)
        planned = PairSampler(labels, 2, 1.0).epoch(epoch).reshape(-1, 2)
        for row, plan in zip(shown(pairs), planned, strict=True):
            if set(plan) <= {0, 1} or len(bad) == 3 and plan[0] < 4:
                assert tuple(row) in allowed


def test_the_partner_stands_in_only_where_there_is_no_third():
    labels = [0, 0, 1, 1]
    pairs = make_pairs(bad=(0,), labels=labels, positive_fraction=1.0)
    assert sorted(map(sorted, shown(pairs).tolist())) == [[1, 1], [2, 3]]


def test_a_class_without_a_good_image_is_replaced_with_the_right_labels():
    pairs = make_pairs(bad=range(7))
    with pytest.warns(UserWarning, match="No image is left of the class 'class 0': not one of them can"):
        for _ in range(8):
            shown(pairs)
    for _ in range(3):
        assert (shown(pairs) >= 7).all()  # which checks the labels, too
    assert len(pairs.skipped) <= 7


def test_nothing_but_bad_images_stops():
    pairs = make_pairs(bad=range(23))
    with pytest.raises(Exception, match="None of the 23 images can be decoded.*'0.png' .it is te"):
        list(pairs)
    images = image_dataset(coloured_samples([0] * 5), 8, 2, on_error="skip", max_pixels=9)
    with pytest.raises(Exception, match="None of the 5 images can be decoded.*'0.png' .16×16 pix"):
        list(images)


def test_replacements_name_every_other_sample_once():
    labels = np.array(LABELS)
    for position, index, partner in ((0, 3, 5), (1, 3, 5), (6, 3, 9), (7, 3, None)):
        found = list(replacements(labels, 0, 4, position, index, partner))
        assert sorted(found) == [i for i in range(23) if i != index]
        same = 6  # others of class 0
        assert (labels[found[:same]] == 0).all()
        assert partner != 5 or found[same - 1] == 5
    front = list(replacements(labels, 0, 4, 0, 3, 5))[:5]
    assert list(replacements(labels, 0, 4, 1, 5, 3))[:5] == front[::-1]


def test_replacements_depend_on_seed_epoch_and_position():
    def order(seed=0, epoch=0, position=0):
        return tuple(replacements(np.array(LABELS), seed, epoch, position, 14))

    assert order() == order()
    assert len({order(), order(seed=1), order(epoch=1), order(position=2), order(position=1)}) == 5


# === Single images ===


def test_evaluation_leaves_bad_images_out():
    dataset = image_dataset(spoiled(), 8, 4, on_error="skip")
    remaining = [i for i in range(23) if i not in BAD]
    for _ in range(2):
        batches = list(dataset)
        assert [len(images) for images, _ in batches] == [4, 4, 4, 4, 3]
        seen = np.concatenate([indices(images) for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(seen, remaining)
        np.testing.assert_array_equal(labels, np.array(LABELS)[remaining])
    rest = dataset.skipped.remaining()
    assert rest.paths == tuple(f"{i}.png" for i in remaining)
    np.testing.assert_array_equal(rest.labels, labels)


def test_evaluate_and_predict_count_what_remains():
    model = tiny_cin()
    whole = image_dataset(spoiled().subset([i for i in range(23) if i not in BAD]), 8, 4)
    skipping = image_dataset(spoiled(), 8, 4, on_error="skip")
    np.testing.assert_allclose(
        model.predict(skipping, verbose=0), model.predict(whole, verbose=0), atol=1e-5
    )
    expected = model.evaluate(whole, return_dict=True, verbose=0)
    received = model.evaluate(skipping, return_dict=True, verbose=0)
    assert received == pytest.approx(expected, abs=1e-5)


def test_a_shuffled_pass_keeps_its_length():
    dataset = image_dataset(spoiled(), 8, 5, shuffle=True, on_error="skip")
    plain = image_dataset(coloured_samples(LABELS), 8, 5, shuffle=True)
    assert len(dataset) == len(plain) == 5
    for (images, labels), (all_images, all_labels) in zip(dataset, plain, strict=True):
        np.testing.assert_array_equal(labels, all_labels)
        good = ~np.isin(indices(all_images), BAD)
        np.testing.assert_array_equal(indices(images)[good], indices(all_images)[good])
        assert not np.isin(indices(images), BAD).any()


def test_larger_images_than_allowed_are_left_out():
    good = coloured_samples([0, 1])
    large = coloured_samples([0, 1], size=40)
    samples = Samples(["a", "b"], [0, 1], ["x", "y"], encoded=[good.encoded[0], large.encoded[1]])
    dataset = image_dataset(samples, 8, on_error="skip", max_pixels=256)
    assert [len(labels) for _, labels in dataset] == [1]
    assert "40×40 pixels are more than max_pixels=256" in dataset.skipped.reasons[1]


# === Training ===


@pytest.mark.every_backend(on_jax=False)
def test_training_with_bad_images(capsys):
    pairs = make_pairs(image_size=8, pairs_per_batch=4, augment="crop")
    validation = image_dataset(spoiled(), 8, 8, on_error="skip")
    model = tiny_cin()
    callbacks = [SetEpoch(pairs), ReportSkipped(pairs, validation)]
    history = model.fit(
        pairs, validation_data=validation, epochs=2, callbacks=callbacks, shuffle=False, verbose=0
    ).history
    assert np.isfinite(history["loss"] + history["val_loss"]).all() and len(history["loss"]) == 2
    report = capsys.readouterr().err
    assert report.count("Left out 4 of 23 images that cannot be decoded") == 2
    for i in BAD:
        assert report.count(f"'{i}.png': it is text") == 2  # once a data set
    model.fit(pairs, callbacks=callbacks, shuffle=False, verbose=0)
    assert capsys.readouterr().err.count("Left out") == 0


# === Never in silence, and each file once ===


def test_the_first_bad_image_gives_a_warning_at_once():
    dataset = image_dataset(spoiled(), 8, 4, on_error="skip")
    with pytest.warns(UserWarning, match=r"Left out '2?\d?\d.png' \(it is text\)") as caught:
        list(dataset)
        list(dataset)
    assert sum("Left out" in str(warning.message) for warning in caught) == 1


def test_a_file_that_is_several_samples_is_listed_once_and_read_once(monkeypatch, capsys):
    samples = spoiled().subset([2, 2, 3, 9])
    reads = []
    read = Samples.read
    monkeypatch.setattr(
        Samples, "read", lambda self, i, **kwargs: (reads.append(i), read(self, i, **kwargs))[1]
    )
    dataset = image_dataset(samples, 8, on_error="skip")
    for _ in range(3):
        assert [len(labels) for _, labels in dataset] == [1]
    assert sorted(reads) == [0, 1, 2, 2, 2, 3]
    assert sorted(dataset.skipped.reasons) == [0, 1, 3] and len(dataset.skipped) == 3
    text = str(dataset.skipped)
    assert text.startswith("Left out 2 of 4 images") and text.count("'2.png': it is text") == 1
    dataset.skipped.report()
    dataset.skipped.report()
    assert capsys.readouterr().err.strip() == text


def test_a_run_without_the_callback_ends_with_the_list():
    code = """
import atexit, warnings
warnings.simplefilter("ignore")
from tests.data.test_skipping import make_pairs
pairs = make_pairs()
for _ in range(2):
    list(pairs)
print("the end")
atexit._run_exitfuncs()  # Python's own end, to which a forked process does not come
"""
    done = processes.run("-c", code)
    assert done.returncode == 0 and done.stdout == "the end\n", done.stderr
    assert done.stderr.count("Left out 4 of 23 images that cannot be decoded:") == 1
    for i in BAD:
        assert done.stderr.count(f"'{i}.png': it is text") == 1


def test_no_bad_image_no_report(capsys):
    dataset = image_dataset(spoiled(bad=()), 8, on_error="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(dataset)
    dataset.skipped.report()
    assert len(dataset.skipped) == 0 and str(dataset.skipped) == "No image was left out."
    assert len(dataset.skipped.remaining()) == 23
    assert capsys.readouterr().err == ""


def test_adding_from_threads_loses_nothing():
    skipped = SkippedImages(spoiled())
    threads = [threading.Thread(target=skipped.add, args=(i % 23, "bad")) for i in range(92)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(skipped) == 23 and str(skipped).count("'5.png'") == 1


# === Errors ===


@pytest.mark.parametrize("dataset", [image_dataset, pair_dataset])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"on_error": "ignore"}, "`on_error` must be 'raise' or 'skip'.*on_error='ignore'"),
        ({"on_error": None}, "`on_error` must be 'raise' or 'skip'.*on_error=None"),
        ({"max_pixels": 0}, "`max_pixels` must be an int of at least 1.*max_pixels=0"),
        ({"max_pixels": 1e9}, "`max_pixels` must be an int of at least 1.*max_pixels=1000000000.0"),
    ],
)
def test_arguments_out_of_range(dataset, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(spoiled(), 8, 2, **arguments)


def test_mistakes_of_the_program_are_not_skipped(monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(Samples, "read", fail)
    with pytest.raises(Exception, match="a mistake"):
        list(image_dataset(spoiled(), 8, on_error="skip"))


def test_report_skipped_refuses_a_derived_data_set():
    with pytest.raises(TypeError, match="as pair_dataset or image_dataset returned them.*TakeD"):
        ReportSkipped(image_dataset(spoiled(), 8).take(1))


def test_an_image_for_which_there_is_no_memory_is_left_out(monkeypatch):
    decode = samples_module.decode

    def too_much(source, name, **kwargs):
        if name == "5.png":
            raise MemoryError(f"Not enough memory to decode {name!r}")
        return decode(source, name=name, **kwargs)

    monkeypatch.setattr(samples_module, "decode", too_much)
    data = image_dataset(spoiled(bad=()), 8, 4, on_error="skip")
    assert sum(len(labels) for _, labels in data) == len(LABELS) - 1
    assert data.skipped.reasons == {5: "there is not enough memory to decode it"}
