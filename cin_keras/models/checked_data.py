"""What `fit` and `evaluate` are given: labels and class weights, looked at before the first step.

Keras' backends differ in what a label that is no class does: an error, a loss of NaN, or nothing.
"""

import collections.abc
import contextlib
import copy
import itertools
import sys
import types

import keras
import numpy as np

from cin_keras.checks import check_number, short
from cin_keras.data.skipping import lengths_may_be_unknown
from cin_keras.losses import SoftmaxCrossentropy
from cin_keras.metrics import better_way
from cin_keras.models.batch_form import check_images, check_labels, is_number, shape_of
from cin_keras.models.pair_batch import check_single_images, is_pair
from cin_keras.text import warn


def settle_modes(callbacks):
    """Tells callbacks with `mode="auto"` which way losses and accuracies get better.

    Keras knows it of its own metrics and of `loss` alone, and raises an error for others.

    Args:
        callbacks: What `fit` was given: one, a list, a `keras.callbacks.CallbackList`, or `None`.
    """
    for callback in keras.tree.flatten(getattr(callbacks, "callbacks", callbacks)):
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and getattr(callback, "mode", None) == "auto":
            callback.mode = better_way(monitor) or "auto"
        # Within an epoch, Keras compares by what it only sets at the end of the first.
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.monitor_op is None:
            ways = {"min": keras.ops.less, "max": keras.ops.greater}
            callback.monitor_op = ways.get(callback.mode)


@contextlib.contextmanager
def checked_fit(given, model):
    """A context for `fit` or `train_on_batch` whose data are checked.

    Args:
        given: Dict of the method's arguments, in which the data are replaced.
        model: `Classifier`; with a contrast, it can be trained on nothing but pairs.

    Raises:
        ValueError: At once for arrays, and before the step on it for a batch.
    """
    whole = _unless_counted(given, given.get("x"), given.get("validation_data"))
    _trace_anew_for_other_labels(model, "train", given)
    x, y, pairs_only = given.get("x"), given.get("y"), model.contrast_name is not None
    if given.get("validation_split") and is_pair(x):
        raise ValueError(
            "`validation_split` would validate on pairs, and this model is validated on single images: "
            "pass validation_data=(images, labels). "
            f"Received: validation_split={given['validation_split']}"
        )
    if given.get("validation_data") is not None or given.get("validation_split"):
        model.replicas.prepare_evaluation(model)  # which would only refuse after an epoch
    validation = CheckedData(model, "The `validation_data`")
    if given.get("validation_data") is not None:
        seen = {"x": _checked_validation(given["validation_data"], validation)}
        _trace_anew_for_other_labels(model, "test", seen)
        given["validation_data"] = seen["x"]
    by_class = given.pop("class_weight", None)
    if by_class is not None and not (y is None or pairs_only or is_pair(x)):
        given["class_weight"] = dict(enumerate(_class_weights(by_class, model.num_classes).tolist()))
        by_class = None  # of arrays of single images Keras takes care itself
    training = CheckedData(model, "The training data", by_class)
    if y is None:
        given["x"] = training.dataset(x)
    else:
        weights = given.get("sample_weight")
        given["y"], given["sample_weight"] = training.arrays(x, y, weights)
    with training.own_error(), validation.own_error(), lengths_may_be_unknown(*whole):
        yield


@contextlib.contextmanager
def checked_evaluation(given, model):
    """A context for `evaluate` or `test_on_batch` whose data are checked, as for `checked_fit`."""
    whole = _unless_counted(given, given.get("x"))
    within_fit = given.get("kwargs", {}).get("_use_cached_eval_dataset")
    if not within_fit or given.get("y") is not None:  # else `fit` has looked
        _trace_anew_for_other_labels(model, "test", given)
    checked = CheckedData(model, "The data to evaluate")
    if given.get("y") is None:
        given["x"] = checked.dataset(given.get("x"))
    else:
        checked.arrays(given.get("x"), given["y"])
    with checked.own_error(), lengths_may_be_unknown(*whole):
        yield


def has_own_order(x):
    """Whether what `fit` was given says itself in what order it comes; arrays and PyDataset do not."""
    is_iterator = isinstance(x, types.GeneratorType) or _is_plain_iterator(x)
    return is_iterator or hasattr(x, "element_spec") or _is_from("torch", x, "collate_fn")


def check_prediction(x, model):
    """Raises ValueError unless `x`, an array or a data set of TensorFlow, can hold a model's images."""
    _check_not_empty(x, "The images to predict")
    batch = getattr(x, "element_spec", x)
    is_array = batch is None or isinstance(batch, (tuple, list, dict)) or hasattr(batch, "shape")
    if batch is not x and isinstance(batch, tuple):
        batch = batch[0]
    if is_array and not is_pair(batch):
        check_images(batch, model.input_shape, "The images to predict")
        if batch is x:
            CheckedData(model, "The images to predict").warn_of_divided(batch)


def _check_not_empty(dataset, what):
    """Raises ValueError for a data set that is known to have no batch; Keras passes over it."""
    batches = getattr(dataset, "num_batches", None)  # of a PyDataset
    if _is_from("tensorflow", dataset, "cardinality"):
        batches = int(dataset.cardinality())
    if batches == 0:
        raise ValueError(f"{what} must hold at least one image. Received: a data set of no batch")


def _trace_anew_for_other_labels(model, step, given):
    """Class numbers after one-hot labels, or the other way round, are another step to TensorFlow.

    It would take one trace for both, in which nobody knows which they are. A data set in `given` is
    replaced by one that still has the batch that was looked at.
    """
    x, y = given.get("x"), given.get("y")
    if keras.backend.backend() != "tensorflow" or getattr(x, "num_batches", None) == 0:
        return
    if y is None:
        batch, given["x"] = (x, x) if isinstance(x, (tuple, list)) else first_batch(x)
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            return
        y = batch[1]
    form = (shape_of(keras.tree.flatten(y)[0]) or ())[1:]
    if getattr(model, f"{step}_labels_form") not in (None, form):
        setattr(model, f"{step}_function", None)
    setattr(model, f"{step}_labels_form", form)


def _unless_counted(given, *data):
    """The data, or nothing if the caller has said how many batches there are to be."""
    counts = ("steps", "steps_per_epoch", "validation_steps")
    return () if any(given.get(name) is not None for name in counts) else data


def _checked_validation(data, checked):
    if isinstance(data, (tuple, list)):
        if not 2 <= len(data) <= 3:
            raise ValueError(
                f"{checked.what} must be (images, labels), (images, labels, sample_weight) or a data "
                f"set. Received: a {type(data).__name__} of {len(data)}"
            )
        check_single_images(data, checked.what)
        checked.arrays(data[0], data[1])
        return data
    batch, data = first_batch(data)
    check_single_images(batch, checked.what)
    if batch is not None:
        checked.form(batch)
    return checked.dataset(data)


class CheckedData:
    """Checks the labels of every batch on the way to a model, and weighs pairs by class.

    Arrays are checked at once; a `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator and
    PyTorch's `DataLoader` batch by batch, before the step that would use it.

    Args:
        model: `Classifier`, compiled or not.
        what: Str, how a message calls the data.
        class_weight: Dict from class number to weight, or `None`. Defaults to `None`. Of single
            images Keras takes care itself.

    Attributes:
        error: The ValueError that a batch has raised, or `None`. TensorFlow's data sets raise
            another one in its place, with a page of text.

    Raises:
        ValueError: If `class_weight` is no such dict.
    """

    def __init__(self, model, what, class_weight=None):
        self.num_classes = classes = model.num_classes
        self.input_shape, self.what = model.input_shape, what
        self.brings_preprocessing = model.backbone_name is not None
        self.has_warned = False
        self.labels_mistakes = tuple(model.labels_mistakes)
        softmax = SoftmaxCrossentropy, keras.losses.CategoricalCrossentropy
        self.takes_shares = isinstance(getattr(model, "loss", None), softmax)
        self.weights = None if class_weight is None else _class_weights(class_weight, classes)
        self.error = None

    @contextlib.contextmanager
    def own_error(self):
        """A context out of which the `error` comes as it was, whatever has become of it."""
        try:
            yield
        except Exception:
            if self.error is not None:
                raise self.error from None
            raise

    def form(self, data):
        """Raises ValueError unless arrays or tensor specs can be a batch `(x, y, ...)`."""
        x, y = (*data, None)[:2] if isinstance(data, (tuple, list)) else (data, None)
        # What is half a pair, or one of two kinds, is refused in the step.
        if not is_pair(x) or all(is_pair(p) and shape_of(p[0]) == shape_of(p[1]) for p in (x, y)):
            check_images(x, self.input_shape, self.what)
            check_labels(y, x, self.num_classes, self.what)
            shape = shape_of(keras.tree.flatten(y)[0]) or ()
            mistake = self.labels_mistakes[len(shape) == 2 and shape[1] == self.num_classes > 1]
            if mistake and shape:
                raise ValueError(mistake)

    def arrays(self, x, y, sample_weight=None):
        """Labels and weights as Keras is to get them, from those of arrays or of one batch."""
        try:
            self.form((x, y))
        except ValueError as error:
            self.error = error
            raise
        for part in keras.tree.flatten(y):
            self._check(part)
        self.warn_of_divided(x)
        if self.weights is None:
            return y, sample_weight
        if not is_pair(y):
            weights = self._weigh(y)
            return y, weights if sample_weight is None else _array(sample_weight).reshape(-1) * weights
        weights = tuple(self._weigh(part) for part in y)
        if sample_weight is not None:
            if not is_pair(sample_weight):
                raise ValueError(
                    "`sample_weight` of pairs must be a pair, (weights_a, weights_b). "
                    f"Received: sample_weight={short(sample_weight)}"
                )
            given = (_array(part).reshape(-1) for part in sample_weight)
            weights = tuple(a * b for a, b in zip(given, weights, strict=True))
        return tuple(y), weights

    def batch(self, data):
        """A batch `(x, y)` or `(x, y, sample_weight)` with checked labels and its weights."""
        if not isinstance(data, (tuple, list)) or not 2 <= len(data) <= 3:
            return data
        x, y, weights = (*data, None)[:3]
        y, weights = self.arrays(x, y, weights)
        parts = (x, y) if weights is None else (x, y, weights)
        return tuple(tuple(part) if is_pair(part) else part for part in parts)  # TensorFlow takes no list

    def dataset(self, x):
        """A data set of any kind that `fit` takes, whose batches are checked as they come."""
        _check_not_empty(x, self.what)
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x, self)
        if isinstance(x, types.GeneratorType) or _is_plain_iterator(x):
            return (self.batch(data) for data in x)
        if _is_from("tensorflow", x, "element_spec"):
            return self._tf_dataset(x)
        if _is_from("torch", x, "collate_fn"):
            loader = copy.copy(x)
            loader.collate_fn = _Collate(x.collate_fn, self)
            return loader
        if x is None or isinstance(x, (tuple, list, dict)) or hasattr(x, "shape"):
            check_labels(None, x, self.num_classes, self.what)
        return x

    def _tf_dataset(self, dataset):
        import tensorflow as tf

        spec = dataset.element_spec
        if not isinstance(dataset, tf.data.Dataset):
            return dataset
        self.form(spec)
        if not isinstance(spec, tuple) or not 2 <= len(spec) <= 3:
            return dataset

        def check(labels):
            if not isinstance(labels, tf.Tensor) or not is_number(labels):
                return labels

            def on_host(array):
                self._check(array)
                return array

            return tf.ensure_shape(tf.numpy_function(on_host, [labels], labels.dtype), labels.shape)

        def weigh(labels):
            return tf.ensure_shape(
                tf.numpy_function(self._weigh, [labels], tf.float32), labels.shape[:1]
            )

        def look_at_first(images):
            if not images.dtype.is_floating:
                return images
            highest = [tf.reduce_max(images[:1])]
            seen = tf.numpy_function(self._warn_of_highest, highest, images.dtype)
            with tf.control_dependencies([seen]):
                return tf.identity(images)

        def change(x, y, weights=None):
            if self.brings_preprocessing:
                x = tf.nest.map_structure(look_at_first, x)
            y = tf.nest.map_structure(check, y)
            if self.weights is not None:
                by_class = tf.nest.map_structure(weigh, y)
                if weights is not None:
                    by_class = tf.nest.map_structure(
                        lambda a, b: tf.reshape(tf.cast(a, b.dtype), [-1]) * b, weights, by_class
                    )
                weights = by_class
            return (x, y) if weights is None else (x, y, weights)

        return dataset.map(change)

    def warn_of_divided(self, x):
        """Warns of images from 0 to 1, which a network that brings its preprocessing takes for black."""
        for images in keras.tree.flatten(x) if self.brings_preprocessing else ():
            if "float" in keras.backend.standardize_dtype(images.dtype):
                self._warn_of_highest(_array(images[:1]).max(initial=0))

    def _warn_of_highest(self, highest):
        """Once, of images whose highest value, a float, is so low; returns it."""
        if 0 < highest <= 1 and not self.has_warned:
            self.has_warned = True
            warn(
                "Images must have values from 0 to 255: multiply yours by 255 if they were divided "
                "by it, or the network sees them all but black. Received: one whose highest value "
                f"is {highest:.3g}"
            )
        return highest

    def _check(self, labels):
        try:
            _check_labels(_array(labels), self.num_classes, self.takes_shares)
        except ValueError as error:
            self.error = error
            raise

    def _weigh(self, labels):
        labels = _array(labels)
        is_one_hot = labels.ndim == 2 and labels.shape[1] == self.num_classes
        numbers = labels.argmax(axis=1) if is_one_hot else labels.reshape(-1).astype("int64")
        return self.weights[numbers]


class _CheckedPyDataset(keras.utils.PyDataset):
    def __init__(self, dataset, checked):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.checked = checked

    def __getitem__(self, index):
        return self.checked.batch(self.dataset[index])

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def __len__(self):
        return len(self.dataset)

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


class _Collate:
    """What makes a batch of a `DataLoader`; a class, for worker processes that are spawned."""

    def __init__(self, collate, checked):
        self.collate = collate
        self.checked = checked

    def __call__(self, items):
        import torch

        return keras.tree.map_structure(torch.as_tensor, self.checked.batch(self.collate(items)))


def first_batch(dataset):
    """The first batch of a data set, or its structure, and the data set with that batch still in it.

    Args:
        dataset: What `fit` takes as `validation_data` but for arrays.

    Returns:
        `(batch, dataset)`; the batch is the `element_spec` of a `tf.data.Dataset`, and `None` of
        an empty iterator or `DataLoader` and of what is none of these.
    """
    if isinstance(dataset, keras.utils.PyDataset):
        return dataset[0], dataset
    if isinstance(dataset, types.GeneratorType) or _is_plain_iterator(dataset):
        batch = next(dataset, None)
        return batch, (data for data in itertools.chain([] if batch is None else [batch], dataset))
    if _is_from("torch", dataset, "collate_fn"):
        import torch

        with torch.random.fork_rng(devices=[]):  # looking changes no later random number
            # Of a copy: persistent workers, which keep what they began with, are not to begin yet.
            return next(iter(copy.copy(dataset)), None), dataset
    return getattr(dataset, "element_spec", None), dataset


def _is_plain_iterator(x):
    """Whether `x` is an iterator of Python itself, `iter(...)` or `map(...)`, which Keras refuses."""
    return isinstance(x, collections.abc.Iterator) and type(x).__module__ in (
        "builtins",
        "itertools",
    )


def _is_from(package, x, attribute):
    """Whether `x` is of a class of that package, found without importing it."""
    if package not in sys.modules or not hasattr(x, attribute):
        return False
    return any(kind.__module__.startswith(f"{package}.") for kind in type(x).__mro__)


def _array(x):
    return keras.ops.convert_to_numpy(x) if keras.ops.is_tensor(x) else np.asarray(x)


def _check_labels(labels, num_classes, takes_shares):
    """ValueError for class numbers out of range, and for rows that share nothing among classes."""
    if not is_number(labels) or labels.ndim > 2:  # looked at elsewhere
        return
    if labels.ndim == 2 and labels.shape[1] == num_classes > 1:
        sums = labels.sum(axis=1, dtype="float64")
        wrong = (labels < 0).any(axis=1) | ~(np.abs(sums - 1) < 0.01)
        if takes_shares and wrong.any():
            raise ValueError(
                "One-hot labels must be shares of the classes, 0 or more, that sum to 1. "
                f"Received: the row {short(labels[wrong][0].tolist())}"
            )
        return
    wrong = ~((labels >= 0) & (labels < num_classes) & (labels == np.floor(labels)))
    if wrong.any():
        label = labels[wrong].reshape(-1)[0]
        advice = ": subtract 1 if yours begin at 1" if label == num_classes else ""
        raise ValueError(
            f"Labels must be class numbers from 0 to {num_classes - 1}, as num_classes="
            f"{num_classes}{advice}. Received: the label {label}"
        )


def _class_weights(class_weight, num_classes):
    """An array of the weight of every class; those that are not named weigh 1."""
    if not isinstance(class_weight, dict):
        raise ValueError(
            "`class_weight` must be a dict from class numbers to weights. "
            f"Received: class_weight={short(class_weight)}"
        )
    weights = np.ones(num_classes, "float32")
    for number, weight in class_weight.items():
        if number not in range(num_classes):
            raise ValueError(
                f"`class_weight` must name classes from 0 to {num_classes - 1}. "
                f"Received: class_weight={short(class_weight)}"
            )
        weights[int(number)] = check_number(f"class_weight[{number!r}]", weight, least=0)
    return weights
