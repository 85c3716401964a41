"""What people give to `fit`, `evaluate` and `compile` by habit: it works, or a sentence says why."""

import dataclasses

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.data import image_dataset
from cin_keras.models.checked_data import first_batch
from tests.data.small_sets import coloured_samples
from tests.models.networks import (
    pair_batch,
    plain_pairs_cin,
    tiny_backbone,
    tiny_cin,
    uncompiled,
)

pytestmark = pytest.mark.every_backend
BACKEND = keras.backend.backend()
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")


class Batches(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def as_tf_data(batches):
    import tensorflow as tf

    def nested(x):
        return tuple(map(nested, x)) if isinstance(x, tuple) else tf.TensorSpec(x.shape, x.dtype)

    return tf.data.Dataset.from_generator(lambda: batches, output_signature=nested(batches[0]))


def as_loader(batches):
    import torch

    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    return torch.utils.data.DataLoader(Items(), batch_size=None, collate_fn=to_torch)


def to_torch(batch):
    import torch

    return keras.tree.map_structure(torch.as_tensor, batch)


FORMS = {
    "arrays": lambda batches: batches[0],
    "tf.data": as_tf_data,
    "PyDataset": Batches,
    "generator": lambda batches: (batch for batch in batches),
    "iterator": iter,
}
if BACKEND == "torch":  # first: the others are what PyTorch has in common with TensorFlow
    FORMS = {"DataLoader": as_loader, **FORMS}


def call(method, data, **kwargs):
    """A method of the model on arrays or on a data set."""
    if isinstance(data, tuple):
        x, y, *weights = data
        return method(x, y, sample_weight=weights[0] if weights else None, verbose=0, **kwargs)
    return method(data, verbose=0, **kwargs)


@pytest.mark.parametrize("form", FORMS)
def test_a_label_that_is_no_class_is_named_before_its_step(form):
    images, labels = pair_batch()
    wrong = (labels[0], labels[1] + 3)
    model = uncompiled(tiny_cin())
    named = r"class numbers from 0 to 2, as num_classes=3.* Received: the label [345]$"
    with pytest.raises(ValueError, match=named):
        call(model.fit, FORMS[form]([(images, wrong)]))
    with pytest.raises(ValueError, match=named):
        call(model.evaluate, FORMS[form]([(images[1], wrong[1])]))
    assert np.isfinite(model.predict(images[0], verbose=0)).all()


def test_labels_from_one_are_told_to_begin_at_zero():
    images, labels = pair_batch()
    model = tiny_cin()
    ones = tuple(part + 1 for part in labels)
    with pytest.raises(ValueError, match="subtract 1 if yours begin at 1. Received: the label 3"):
        model.fit(images, ones, verbose=0)
    with pytest.raises(ValueError, match="the label 3"):
        model.train_on_batch(images, ones)
    with pytest.raises(ValueError, match="the label 3"):
        model.test_on_batch(images[0], np.array([[0], [3], [1], [2]]))
    for label in (-1, 0.5, float("nan")):
        with pytest.raises(ValueError, match=f"the label {label}"):
            model.evaluate(images[0], np.array([0, 1, 2, label]), verbose=0)


def test_later_batches_are_checked_too():
    images, labels = pair_batch()
    wrong = (images, (labels[0], labels[1] * 0 + 7))
    steps = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(batch)

    model = uncompiled(tiny_cin())
    with pytest.raises(ValueError, match="the label 7"):
        data = as_tf_data([(images, labels), (images, labels), wrong])
        model.fit(data, verbose=0, callbacks=[Count()])
    assert steps == [0, 1]
    assert np.isfinite(model.predict(images[0], verbose=0)).all()


@pytest.mark.parametrize("form", FORMS)
def test_pairs_to_validate_on_are_refused_before_training(form):
    images, labels = pair_batch()
    model = tiny_cin()
    before = model.get_weights()
    with pytest.raises(ValueError, match="`validation_data` of this model takes single images"):
        model.fit(images, labels, validation_data=FORMS[form]([(images, labels)]), verbose=0)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_validation_is_looked_at_before_training():
    images, labels = pair_batch()
    model = tiny_cin()
    with pytest.raises(ValueError, match="the label 9"):
        wrong = (images[0], labels[0] * 0 + 9)
        model.fit(images, labels, validation_data=wrong, verbose=0)
    with pytest.raises(ValueError, match=r"validation_data=\(images, labels\).*split=0.5"):
        model.fit(images, labels, validation_split=0.5, verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_a_generator_of_nothing_validates_on_nothing_in_words():
    images, labels = pair_batch()
    with pytest.raises(ValueError, match="an empty generator"):
        model = uncompiled(tiny_cin())
        model.fit(images, labels, validation_data=(batch for batch in ()), verbose=0)


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"arrays"}))
def test_nothing_is_said_of_an_order_that_nobody_asked_for(form, recwarn):
    uncompiled(tiny_cin()).fit(FORMS[form]([pair_batch()]), verbose=0)
    assert not [str(w.message) for w in recwarn if "shuffle" in str(w.message)]


BY_CLASS = {0: 2.0, 2: 0.5}


@pytest.fixture(scope="module")
def weighted():
    """The weights of a model, and what training logs with the weights of classes at their images."""
    images, labels = pair_batch()
    weights = tuple(np.array([BY_CLASS.get(int(c), 1.0) for c in part]) for part in labels)
    model = uncompiled(tiny_cin())
    start = model.get_weights()
    logs = model.fit(images, labels, sample_weight=weights, verbose=0).history
    assert logs["loss"] != uncompiled(tiny_cin()).fit(images, labels, verbose=0).history["loss"]
    return start, logs


@pytest.mark.every_backend(on_jax=False)
@pytest.mark.parametrize("form", FORMS)
def test_class_weights_weigh_the_images_of_pairs(form, weighted):
    start, wanted = weighted
    model = uncompiled(tiny_cin())
    model.set_weights(start)
    logs = call(model.fit, FORMS[form]([pair_batch()]), class_weight=BY_CLASS).history
    for name, values in wanted.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.skipif(BACKEND != "torch", reason="a loader of PyTorch")
def test_workers_that_persist_begin_with_what_is_checked():
    import torch

    images, labels = pair_batch()
    numbers = np.concatenate(labels).tolist()
    numbers[-1] = 9
    items = list(zip(np.concatenate(images), numbers))
    options = {"batch_size": 4, "num_workers": 1, "persistent_workers": True}
    loader = torch.utils.data.DataLoader(items, **options)
    with pytest.raises(ValueError, match="Labels must be class numbers .* Received: the label 9"):
        uncompiled(tiny_cin()).fit(images, labels, validation_data=loader, verbose=0)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's loaders")
def test_looking_at_a_loader_draws_no_random_number():
    import torch

    loader = torch.utils.data.DataLoader([1, 2, 3], shuffle=True)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    batch, same = first_batch(loader)
    assert batch is not None and same is loader
    assert torch.equal(torch.random.get_rng_state(), before)
    next(iter(loader))
    assert not torch.equal(torch.random.get_rng_state(), before), "a loader that is read draws"


@pytest.mark.every_backend(on_jax=False)
def test_class_weights_go_with_weights_and_one_hot_labels():
    images, labels = pair_batch()
    by_class = {0: 2.0, 2: 0.5}
    given = tuple(np.arange(4.0) + side for side in (1, 2))
    both = tuple(
        w * np.array([by_class.get(int(c), 1.0) for c in part]) for w, part in zip(given, labels)
    )
    one_hot = tuple(np.eye(3, dtype="float32")[part] for part in labels)
    first, second = (uncompiled(tiny_cin()) for _ in range(2))
    second.set_weights(first.get_weights())
    columns = tuple(weights[:, None] for weights in given)
    a = first.train_on_batch(images, one_hot, sample_weight=columns, class_weight=by_class)
    b = second.train_on_batch(images, labels, sample_weight=both)
    np.testing.assert_allclose(a, b, rtol=1e-5)
    data = as_tf_data([(images, one_hot, columns)])
    a = first.fit(data, class_weight=by_class, verbose=0).history
    b = second.fit(images, labels, sample_weight=both, verbose=0).history
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


@pytest.mark.every_backend(on_jax=False)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "arrays"])  # which Keras refuses
def test_class_weights_weigh_single_images_beside_weights(form):
    (images, _), (labels, _) = pair_batch()
    given = np.arange(1.0, 5.0)
    model = uncompiled(tiny_cin(interaction=None, contrast=None, randomize=False))
    weights = model.get_weights()
    by_class = given * np.array([{0: 2.0}.get(int(c), 1.0) for c in labels])
    wanted = model.fit(images, labels, sample_weight=by_class, verbose=0).history["loss"]
    model.set_weights(weights)
    batches = [(images, labels, given)]
    found = call(model.fit, FORMS[form](batches), class_weight={0: 2.0}).history["loss"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("arrays", "tf.data")])
def test_pairs_may_be_lists(form):
    images, labels = pair_batch()
    model = uncompiled(plain_pairs_cin())
    wanted = model.evaluate(images[0], labels[0], verbose=0)
    batches = [([*images], [*labels])]
    call(model.fit, FORMS[form](batches), class_weight={0: 2.0})
    assert model.evaluate(images[0], labels[0], verbose=0) != wanted


@pytest.mark.every_backend(on_jax=False)
def test_class_weights_of_single_images_are_those_of_keras():
    images, labels = pair_batch()
    options = {"backbone": tiny_backbone(), "input_shape": (8, 8, 3), "contrast": None}
    model = uncompiled(cin_keras.CIN(3, **options))
    weights, data = model.get_weights(), as_tf_data([(images[0], labels[0])])
    a = model.fit(data, class_weight={0: 2.0}, verbose=0).history["loss"]
    model.set_weights(weights)
    b = model.fit(images[0], labels[0], class_weight={0: 2.0, 1: 1, 2: 1}, verbose=0).history["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-5)
    loss = model.evaluate(images[0], labels[0], verbose=0)[0]
    assert model.fit(images[0], labels[0], class_weight={0: 0, 1: 0, 2: 0}, verbose=0).history[
        "loss"
    ] == [0]
    assert loss > 0


@pytest.mark.parametrize("weights", [[1.0, 2.0, 3.0], {3: 1.0}, {0: -1.0}, {"a": 1.0}])
def test_wrong_class_weights_are_named(weights):
    images, labels = pair_batch()
    with pytest.raises(ValueError, match="class_weight.*Received: class_weight"):
        tiny_cin().fit(images, labels, class_weight=weights, verbose=0)
    with pytest.raises(ValueError, match="class_weight.*Received: class_weight"):
        single = tiny_cin(contrast=None, randomize=False)
        single.fit(images[0], labels[0], class_weight=weights, verbose=0)


MONITORS = ("val_accuracy", "accuracy", "val_loss", "loss", "classification_loss")


@on_tensorflow
def test_stock_callbacks_know_which_way_is_better(tmp_path):
    images, labels = pair_batch()
    validation = (images[0], labels[0])
    model = uncompiled(tiny_cin())
    modes = {}
    callbacks = [keras.callbacks.TerminateOnNaN(), keras.callbacks.BackupAndRestore(tmp_path / "b")]
    callbacks.append(keras.callbacks.CSVLogger(tmp_path / "log.csv"))
    callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate))
    for monitor in (*MONITORS, "contrastive_loss"):
        modes[monitor] = [
            keras.callbacks.EarlyStopping(monitor, patience=9, restore_best_weights=True),
            keras.callbacks.ReduceLROnPlateau(monitor, patience=9),
            keras.callbacks.ModelCheckpoint(
                tmp_path / f"{monitor}.weights.h5", monitor, save_best_only=True,
                save_weights_only=True,
            ),
        ]  # fmt: skip
        callbacks += modes[monitor]
    model.fit(images, labels, validation_data=validation, epochs=2, verbose=0, callbacks=callbacks)
    for monitor, found in modes.items():
        is_up = "accuracy" in monitor
        assert {callback.mode for callback in found} == {"max" if is_up else "min"}
        better, worse = (1.0, 0.0) if is_up else (0.0, 1.0)
        assert found[0].monitor_op(better, worse) and (tmp_path / f"{monitor}.weights.h5").exists()


@on_tensorflow
def test_a_mode_that_was_given_stays():
    images, labels = pair_batch()
    stopping = keras.callbacks.EarlyStopping("accuracy", mode="min")
    uncompiled(tiny_cin()).fit(images, labels, verbose=0, callbacks=stopping)
    assert stopping.mode == "min"


def as_tf_arrays(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])


OF_ANOTHER_FORM = {
    "no labels": (lambda x, y: x, "must hold images and their labels"),
    "a tuple of one": (lambda x, y: (x,), "received: a tuple of 1"),
    "empty": (lambda x, y: (), "received: a tuple of 0"),
    "a tuple of four": (lambda x, y: (x, y, y, y), "received: a tuple of 4"),
    "size": (lambda x, y: (x[:, :6], y), r"\(batch, 8, 8, 3\); .*received: shape \(4, 6, 8, 3\)"),
    "grey": (lambda x, y: (x[..., :1], y), r"np.repeat\(images, 3.*received: shape \(4, 8, 8, 1\)"),
    "transparent": (lambda x, y: (x[..., [0, 1, 2, 2]], y), r"images\[..., :3\] leaves"),
    "one image": (lambda x, y: (x[0], y), r"images\[None\] makes a batch"),
    "names": (lambda x, y: (x, y.astype(str)), "class_names.index.*of type str"),
    "a list": (lambda x, y: (x, y.tolist()), r"such as np.array\(labels\). received: \["),
    "fewer": (lambda x, y: (x, y[:3]), "received: 3 labels of 4 images"),
    "one-hot of four": (lambda x, y: (x, np.eye(4)[y]), r"as num_classes=3.* shape \(4, 4\)"),
    "one-hot twice": (lambda x, y: (x, np.eye(3)[y] * 2), "sum to 1.*received: the row"),
    "a list of images": (lambda x, y: (list(x), y), "np.stack.*received: 4 parts"),
    "words": (lambda x, y: (x.astype(str), y), "of numbers. received: shape"),
    "unbatched": (lambda x, y: as_tf_arrays(x, y), r".batch\(n\).*received: shape \(8, 8, 3\)"),
    "images alone": (lambda x, y: as_tf_arrays(x).batch(2), "must hold images and their labels"),
    "none": (lambda x, y: (x[:0], y[:0]), r"at least one image. received: shape \(0, 8, 8, 3\)"),
    "no batch": (lambda x, y: as_tf_arrays(x[:0], y[:0]).batch(2), "received: a data set of no batch"),
}


@pytest.mark.parametrize("kind", OF_ANOTHER_FORM)
def test_data_of_another_form_are_refused_before_training(kind):
    spoil, message = OF_ANOTHER_FORM[kind]
    images, labels = pair_batch()
    model = tiny_cin()
    data = spoil(images[0], labels[0])
    with pytest.raises(ValueError, match=f"(?is)^(the `validation_data`|labels|one-hot).*{message}"):
        model.fit(images, labels, validation_data=data, verbose=0)
    assert int(model.optimizer.iterations) == 0
    if not isinstance(data, tuple) or len(data) == 2:
        with pytest.raises(ValueError, match=f"(?is)^(the data to evaluate|labels|one-hot).*{message}"):
            model.evaluate(*(data if isinstance(data, tuple) else (data,)), verbose=0)


def test_training_data_of_another_form_are_named():
    images, labels = pair_batch()
    model, single = tiny_cin(), tiny_cin(contrast=None, randomize=False)
    with pytest.raises(ValueError, match=r"pairs of images, each one array.*\(4, 8, 8, 1\)"):
        model.fit(tuple(part[..., :1] for part in images), labels, verbose=0)
    with pytest.raises(ValueError, match="names. Received: labels of type str"):
        model.fit(images, tuple(part.astype(str) for part in labels), verbose=0)
    for given in ((None,), (images,), (images[0],), (images[0], None)):
        with pytest.raises(ValueError, match="The training data must hold images and their labels"):
            single.fit(*given, verbose=0)
    with pytest.raises(ValueError, match="must be a pair.*Received: sample_weight"):
        model.fit(images, labels, sample_weight=np.ones(4), class_weight={0: 2.0}, verbose=0)


def test_what_cannot_be_predicted_is_named():
    images, _ = pair_batch()
    model = tiny_cin()
    wrong = [images[0][0], images[0][..., :1], list(images[0]), None, images[0].astype(str)]
    for x in (*wrong, as_tf_arrays(images[0])):
        with pytest.raises(ValueError, match="The images to predict must be images as one array"):
            model.predict(x, verbose=0)
    nothing = images[0][:0], as_tf_arrays(images[0][:0]).batch(2)
    for x in (*nothing, as_tf_arrays(images[0]).filter(lambda image: False).batch(2)):
        with pytest.raises(ValueError, match="^The images to predict must .*one.*. Received: "):
            model.predict(x, verbose=0)
    data = as_tf_arrays(images[0]).batch(2)
    expected = model.predict(images[0], verbose=0)
    for x in (data, [images[0]], data.map(lambda image: (image, 0))):
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.every_backend(on_jax=False)
@pytest.mark.parametrize("form", ["arrays", "tf.data"])
def test_images_divided_by_255_are_told_of(form, recwarn):
    """Where the network brings its preprocessing; a network that was supplied may want just these."""
    images, labels = pair_batch()
    divided = tuple(part / np.float32(255) for part in images)
    model = uncompiled(tiny_cin())
    call(model.evaluate, FORMS[form]([(divided[0], labels[0])]))
    model.backbone_name = "resnet50"
    black = 0 * divided[0]
    for right in (255 * divided[0], black, divided[0].astype("uint8")):
        call(model.evaluate, FORMS[form]([(right, labels[0])]))
    assert not [w for w in recwarn if "from 0 to 255" in str(w.message)]
    told = r"from 0 to 255: multiply yours by 255.*highest value is (0\.\d+|1)$"
    with pytest.warns(UserWarning, match=told) as warned:
        darker = tuple(part / 2 for part in divided)
        call(model.fit, FORMS[form]([(divided, labels), (darker, labels)]))
    assert len([w for w in warned if "from 0 to 255" in str(w.message)]) == 1
    with pytest.warns(UserWarning, match=told):
        call(model.evaluate, FORMS[form]([(divided[0], labels[0])]))
    with pytest.warns(UserWarning, match=told):
        model.predict(divided[0], verbose=0)


@pytest.mark.every_backend(on_jax=False)
def test_labels_of_one_kind_after_another():
    """TensorFlow traces anew, and pandas' tables are labels, too."""
    images, labels = pair_batch()
    model = uncompiled(tiny_cin(contrast=None, randomize=False))
    one_hot = np.eye(3, dtype="int64")[labels[0]]
    for y in (labels[0], one_hot, labels[0][:, None], one_hot.astype("float32"), labels[0]):
        assert np.isfinite(model.fit(images[0], y, verbose=0).history["loss"][0])
        assert np.isfinite(model.evaluate(images[0], y, verbose=0)[0])
    model = tiny_cin(interaction=None, contrast=None, randomize=False)
    for y in (labels[0], one_hot):
        validation = Batches([(images[0], y)])
        history = model.fit(iter([(images[0], y)]), validation_data=validation, verbose=0).history
        assert np.isfinite(history["loss"] + history["val_loss"]).all()
    mixed = plain_pairs_cin()
    pairs = tuple(np.eye(3, dtype="float32")[part] for part in labels)
    mixed.fit(images, pairs, validation_data=(images[0], labels[0]), epochs=3, verbose=0)
    pandas = pytest.importorskip("pandas")
    model.fit(images[0], pandas.DataFrame({"label": labels[0]}), verbose=0)


def test_data_sets_of_unknown_axes_are_named():
    import tensorflow as tf

    def batches():
        yield pair_batch()

    types = ((tf.uint8, tf.uint8), (tf.int64, tf.int64))
    data = tf.data.Dataset.from_generator(batches, output_types=types)
    with pytest.raises(ValueError, match="unknown number of axes: .*output_signature"):
        tiny_cin().fit(data, verbose=0)


@pytest.mark.every_backend(on_jax=False)
def test_metrics_of_other_labels_are_refused():
    images, labels = pair_batch()
    model = tiny_cin(contrast=None, randomize=False)

    def compile(*loss, **options):
        model.compile("sgd", *loss, **options)
        uncompiled(model)  # which `compile` takes back

    for metric in ("categorical_accuracy", keras.metrics.TopKCategoricalAccuracy(2)):
        compile(loss=model.loss, metrics=["accuracy", metric])
        with pytest.raises(ValueError, match=r"are class numbers.*one-hot: .*to_categorical"):
            model.fit(images[0], labels[0], verbose=0)
        model.fit(images[0], keras.utils.to_categorical(labels[0], 3), verbose=0)
    for loss in ("mse", keras.losses.CategoricalCrossentropy(from_logits=True), "hinge"):
        compile(loss=loss)
        with pytest.raises(ValueError, match="which `loss` takes for one-hot: use cin_keras.losses"):
            model.fit(images[0], labels[0], verbose=0)
    compile(cin_keras.losses.SoftmaxCrossentropy(), metrics=["accuracy", "acc"])
    model.evaluate(images[0], labels[0], verbose=0)
    compile(cin_keras.losses.SoftmaxCrossentropy(), metrics=["sparse_categorical_accuracy"])
    with pytest.raises(ValueError, match=r"are one-hot.*argmax.*sparse_categorical_accuracy"):
        model.evaluate(images[0], keras.utils.to_categorical(labels[0], 3), verbose=0)
    model.evaluate(images[0], labels[0], verbose=0)


@on_tensorflow
def test_a_scheduler_has_the_rate_for_itself():
    images, labels = pair_batch()
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    logs = uncompiled(tiny_cin()).fit(images, labels, epochs=2, verbose=0, callbacks=[scheduler])
    assert logs.history["learning_rate"] == pytest.approx([0.005, 0.0025])


def test_a_checkpoint_within_an_epoch_knows_what_is_better(tmp_path):
    images, labels = pair_batch()
    path = tmp_path / "best.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, "contrastive_loss", save_best_only=True, save_weights_only=True, save_freq=1
    )
    uncompiled(tiny_cin()).fit(images, labels, 2, epochs=2, verbose=0, callbacks=[checkpoint])
    assert path.exists()


@on_tensorflow
def test_data_that_shorten_do_not_run_out(recwarn):
    """Unless the caller has counted: then they do."""
    samples = coloured_samples([0, 1, 2] * 4, size=8)
    encoded = [data[:40] if i in (3, 7) else data for i, data in enumerate(samples.encoded)]
    data = image_dataset(
        dataclasses.replace(samples, encoded=tuple(encoded)), 8, 4, on_error="skip"
    )
    data.skipped.silence()
    model = uncompiled(tiny_cin(contrast=None, randomize=False))
    model.fit(data, validation_data=data, epochs=2, verbose=0)
    model.evaluate(data, verbose=0)
    assert model.predict(data, verbose=0).shape == (10, 3)
    said = [str(warning.message) for warning in recwarn if "ran out of data" in str(warning)]
    assert not said
    model.fit(data, steps_per_epoch=9, verbose=0)
    assert any("ran out of data" in str(warning.message) for warning in recwarn)


def test_after_a_mistake_the_right_data_is_trained_on():
    """As in a notebook: what a mistake has begun to trace is not gone on with."""
    model = plain_pairs_cin()
    images, labels = pair_batch()

    def fit():
        return model.fit(images, labels, verbose=0).history["loss"]

    def evaluate():
        return model.evaluate(images[0], labels[0], verbose=0)

    mistakes = [
        (lambda: model.fit(images[0], labels[0], verbose=0), fit),
        (lambda: model.train_on_batch(images[0], labels[0]), fit),
        (lambda: model.evaluate(images, labels, verbose=0), evaluate),
        (lambda: model.test_on_batch(images, labels), evaluate),
        (
            lambda: model.predict(images, verbose=0),
            lambda: model.predict(images[0], verbose=0),
        ),
    ]
    for mistake, right in mistakes:
        # Keras makes this metric in the first step, of training or of evaluation.
        model.compile("sgd", cin_keras.losses.SoftmaxCrossentropy(), metrics=["accuracy"])
        with pytest.raises(ValueError, match="Received"):
            mistake()
        assert np.isfinite(right()).all()
