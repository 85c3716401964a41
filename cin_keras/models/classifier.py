"""What the classifiers of this package share around a training step of their own.

Checks of what they are given, the model's card, saving, loading and export.
"""

import contextlib
import inspect
import warnings

import keras
import numpy as np
from keras import ops

from cin_keras.checks import check_int, check_number, short
from cin_keras.data.hierarchy import check_hierarchy
from cin_keras.data.skipping import lengths_may_be_unknown
from cin_keras.distribution.devices import check_current, current_replicas
from cin_keras.keras_internals import all_layers, is_writing_hdf5
from cin_keras.losses import class_numbers
from cin_keras.metrics import accuracy
from cin_keras.models.checked_data import (
    check_prediction,
    checked_evaluation,
    checked_fit,
    has_own_order,
    settle_modes,
)
from cin_keras.models.compile_mistakes import labels_mistake, logits_mistake
from cin_keras.models.default_recipe import default_compilation, default_schedule
from cin_keras.models.folded_prediction import FoldedPrediction
from cin_keras.models.jax_state import (
    PREDICT_STATE,
    TEST_STATE,
    TRAIN_STATE,
    keep_state,
    keep_state_between_steps,
)
from cin_keras.models.pair_batch import (
    check_single_images,
    holds_pairs,
    interleave_pair,
    interleave_targets,
    is_pair,
    mean_of_two,
    unpack_pair_batch,
)
from cin_keras.models.save import (
    check_saveable,
    check_weights_file,
    quantize_layers,
    quantized_layers,
    refuse_hdf5,
    warn_of_unused_weights,
)
from cin_keras.models.whitening import Whitening
from cin_keras.serving.export import export_inference
from cin_keras.serving.model_card import check_class_names, check_settings, choose_image_size
from cin_keras.text import warn

# Where a file has the whitening, beside the variables of the model itself, which has none.
WHITENING_OF, WHITENING = "whitening_", ("mean", "kernel")


class Classifier(keras.Model):
    """A functional graph from images to scores, with layers beside it that only training runs.

    A subclass builds the graph in its `__init__`, holds its training step (`call` in training and
    `compute_loss`), and sets the attributes below; all its arguments it keeps as attributes of the
    same name, but for those that layers are made of, and calls `finish` last.

    Attributes:
        num_classes: Int.
        classifier_activation: `None` for logits, `"softmax"` for probabilities.
        replicas: What `cin_keras.distribution.devices.current_replicas` returned.
        backbone: Model from images to features.
        backbone_name: Str, or `None` for a backbone that was supplied.
        interaction: Layer after the backbone, or `None`.
        interaction_name: Str or `None`.
        contrast_name: Str or `None`; with a contrast, the model learns from pairs alone.
        contrastive_loss: Loss of the contrast, if there is one.
        pooling: Layer that takes the spatial mean of a map.
        dropout: Layer before the classifier, whose output, whitened if `whitening` is set, is what
            `export` calls an embedding.
        whitening: `Whitening`, or `None`; saved with the model.
        training_trackers: List of metrics that are for training only.
        nested_backbones: List of models given by name that are one layer of the graph.
    """

    labels_mistakes = (None, None)
    train_labels_form = test_labels_form = None
    _evaluates = False
    _whitening = None
    _folded_prediction = None
    _moved = _traced = None  # which weights the optimizer was built for, and the step was traced with

    def finish(self, given):
        """Ends a constructor: keeps what it was given, and compiles the model, so that `fit` works.

        Args:
            given: Dict of all arguments, checked, under their names.
        """
        self.replicas = current_replicas()
        named = isinstance(given["backbone"], str)
        self.backbone_name = given["backbone"] if named else None
        self.interaction_name = given["interaction"]
        self.contrast_name = given["contrast"]
        for argument in self.kept_arguments():
            setattr(self, argument, given[argument])
        self.compile(**default_compilation(logits=self.classifier_activation is None))

    def __call__(self, inputs, *args, **kwargs):
        if is_pair(inputs):
            return super().__call__(interleave_pair(inputs), *args, paired=True, **kwargs)
        return super().__call__(inputs, *args, **kwargs)

    # === Layers ===

    @property
    def training_layers(self):
        """The layers that only training runs: ψ with its contrast, the embedding, classifiers."""
        names = ("part_classifier", "whole_classifier", "contrast", "embedding")
        layers = (getattr(self, name, None) for name in names)
        return [layer for layer in layers if layer is not None]

    @property
    def data_format(self):
        """Keras' image data format as the model was first made; a loaded model keeps it."""
        return self.pooling.data_format

    def in_own_format(self, images):
        """Images `(batch, height, width, 3)`, as all are read, with the axes as the model has them.

        Args:
            images: NumPy array.

        Returns:
            The array itself, or a view of shape `(batch, 3, height, width)`.
        """
        if self.data_format == "channels_last":
            return images
        return np.transpose(images, (0, 3, 1, 2))

    @property
    def inference_layers(self):
        """The layers of the graph from images to scores, as of every functional model."""
        return super().layers

    @property
    def layers(self):
        """All layers; the classifier is the last, as people expect who freeze all others."""
        *layers, last = self.inference_layers
        return [*layers, *self.training_layers, last]

    # === What the model file says of itself ===

    @property
    def class_names(self):
        return self._class_names

    @class_names.setter
    def class_names(self, class_names):
        self._class_names = check_class_names(class_names, self.num_classes)

    @property
    def image_size(self):
        return self._image_size

    @image_size.setter
    def image_size(self, image_size):
        network_size = height_and_width(self.input_shape[1:], self.data_format)
        self._image_size = choose_image_size(image_size, network_size)

    @property
    def settings(self):
        return self._settings

    @settings.setter
    def settings(self, settings):
        self._settings = check_settings(settings)

    @property
    def temperature(self):
        return self._temperature

    @temperature.setter
    def temperature(self, temperature):
        self._temperature = check_number("temperature", temperature, above=0)

    @property
    def whitening(self):
        """`Whitening` of what the classifier sees, for embeddings; `None` without. In the file."""
        return self._whitening

    @whitening.setter
    def whitening(self, whitening):
        width = self.dropout.output.shape[-1]
        if whitening is not None and (
            not isinstance(whitening, Whitening) or len(whitening.mean) != width
        ):
            raise ValueError(
                f"`whitening` must be a Whitening of the {width} numbers that the classifier sees, "
                f"or None. Received: {short(whitening)}"
            )
        self._whitening = whitening

    @property
    def embedding_width(self):
        """Int, how many numbers an embedding of `export` and of a gallery has."""
        if self.whitening is None:
            return int(self.dropout.output.shape[-1])
        return self.whitening.kernel.shape[1]

    @property
    def hierarchy(self):
        return self._hierarchy

    @hierarchy.setter
    def hierarchy(self, hierarchy):
        checked = check_hierarchy(hierarchy, range(self.num_classes))
        self._hierarchy = checked and {level: list(groups) for level, groups in checked.items()}

    # === Training: what it is given ===

    def compile(self, *args, **kwargs):
        """As `keras.Model.compile`, but refuses what would read the model's output wrongly.

        Raises:
            ValueError: For a loss or metric that takes the model's logits for probabilities, as
                the string `"sparse_categorical_crossentropy"` does, or probabilities for logits.
        """
        given = inspect.signature(super().compile).bind(*args, **kwargs)
        if mistake := self._logits_mistake(given.arguments):
            raise ValueError(mistake)
        self._note_labels_mistakes(given.arguments)
        self._make_metrics(given.arguments)
        super().compile(*given.args, **given.kwargs)
        self._moved = None

    def compile_from_config(self, config):
        """As `keras.Model.compile_from_config`; of a file's loss, too, but with a warning."""
        config = keras.saving.deserialize_keras_object(config)
        if mistake := self._logits_mistake(config):
            warnings.warn(mistake, stacklevel=2)
        self._note_labels_mistakes(config)
        self._make_metrics(config)
        super().compile(**config)
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)
            self._moved = self._trained()

    def _make_metrics(self, given):
        """Makes the metric of the function `accuracy` now, not in the first step.

        TensorFlow traces a step twice that makes variables, which takes as long again.
        """
        for name in ("metrics", "weighted_metrics"):
            with self._strategy_scope():
                given[name] = keras.tree.map_structure(_as_metric, given.get(name))

    def _strategy_scope(self):
        on_tensorflow = keras.backend.backend() == "tensorflow"
        return self.distribute_strategy.scope() if on_tensorflow else contextlib.nullcontext()

    def _logits_mistake(self, given):
        return logits_mistake(self.classifier_activation is None, **_judges(given))

    def _note_labels_mistakes(self, given):
        """What to say of labels that are class numbers, and of one-hot ones, once they are seen."""
        self.labels_mistakes = [labels_mistake(one_hot, **_judges(given)) for one_hot in (False, True)]

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`; with a contrast, on pairs.

        What cannot be trained on is refused before the first step: pairs for validation, and
        labels that are no class (of a data set, before the step on their batch). `class_weight`
        weighs every image by its class, and the contrastive loss of a pair by the mean of its two.
        Callbacks with `mode="auto"` know that losses are to fall and accuracies to rise. The rate
        of the optimizer that the model was made with falls by half a cosine over the epochs;
        as an epoch ends, callbacks see the rate that the epochs are shares of.
        A backbone that was given by name brings its preprocessing: images from 0 to 1 give a
        warning. So do a `whitening` and a `temperature` that are of the weights before.

        Raises:
            ValueError: For data that the model cannot be trained or validated on.
        """
        given = inspect.signature(super().fit).bind(*args, **kwargs)
        settle_modes(given.arguments.get("callbacks"))
        if has_own_order(given.arguments.get("x")):
            given.arguments.setdefault("shuffle", False)  # or Keras warns that it will not shuffle
        before = {name: getattr(self, name) for name in ("whitening", "temperature")}
        with (
            self._traced_anew_after_a_mistake(),
            default_schedule(self, given.arguments),
            checked_fit(given.arguments, self),
        ):
            history = super().fit(*given.args, **given.kwargs)
        if history.epoch:
            self._warn_of_what_was_fitted(**before)
        return history

    def _warn_of_what_was_fitted(self, whitening, temperature):
        """Warns if training has left these, which were fitted to other weights, in the model."""
        names = []
        # Of what the classifier, the last layer, sees.
        learned = any(layer.trainable_variables for layer in self.inference_layers[:-1])
        if learned and whitening is not None and self.whitening is whitening:
            names.append("whitening")
        if self.trainable_variables and self.temperature == temperature != 1:
            names.append("temperature")
        if names:
            warn(
                f"The {' and '.join(names)} of the model must be those of its weights, and are of the "
                "weights before this training: fit them anew, or set whitening = None and "
                "temperature = 1."
            )

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, on single images; refuses labels that are no class."""
        given = inspect.signature(super().evaluate).bind(*args, **kwargs)
        self._evaluates = True
        try:
            with (
                self._traced_anew_after_a_mistake(),
                keep_state_between_steps(self),
                checked_evaluation(given.arguments, self),
            ):
                return super().evaluate(*given.args, **given.kwargs)
        finally:
            self._evaluates = False

    def predict(self, x, *args, **kwargs):
        """As `keras.Model.predict`, on single images.

        More than one batch runs through `prediction_network()`, which has the same scores but for
        rounding, unless `callbacks` are given: they see this model's layers.
        """
        check_prediction(x, self)
        given = inspect.signature(super().predict).bind(x, *args, **kwargs).arguments
        with self._traced_anew_after_a_mistake(), lengths_may_be_unknown(x):
            whole = given.get("callbacks") or _is_one_batch(**given)
            network = self if whole else self.prediction_network()
            try:
                with keep_state_between_steps(network):
                    return (super() if network is self else network).predict(**given)
            except UnboundLocalError as error:
                if "batch_outputs" not in str(error):
                    raise
                # Keras' own, where there was no batch
                raise ValueError(
                    "The images to predict must be one or more. Received: a data set that ended at once"
                ) from error

    def prediction_network(self):
        """The graph with φ folded into the classifier, where that is smaller.

        It is for this machine: on CPUs, TensorFlow may loop over the images. `export` writes one for
        others.

        Returns:
            `keras.Model` of the same backbone, with the weights as they are now, or this model:
            where nothing folds, in a class derived from `CIN`, on several devices, and under
            `run_eagerly`.

        Example:

        >>> from cin_keras.models.small_backbone import small_backbone
        >>> model = cin_keras.CIN(3, small_backbone(32), None, (32, 32, 3))
        >>> model.prediction_network().layers[-1].name
        'folded_heads'
        """
        network = self._folded_prediction and self._folded_prediction.network(self)
        return network or self

    def train_on_batch(self, *args, **kwargs):
        """As `keras.Model.train_on_batch`, on pairs; checks and weighs as `fit` does."""
        given = inspect.signature(super().train_on_batch).bind(*args, **kwargs)
        with self._traced_anew_after_a_mistake(), checked_fit(given.arguments, self):
            return super().train_on_batch(*given.args, **given.kwargs)

    def test_on_batch(self, *args, **kwargs):
        """As `keras.Model.test_on_batch`, on single images; refuses labels that are no class."""
        given = inspect.signature(super().test_on_batch).bind(*args, **kwargs)
        with self._traced_anew_after_a_mistake(), checked_evaluation(given.arguments, self):
            return super().test_on_batch(*given.args, **given.kwargs)

    @contextlib.contextmanager
    def _traced_anew_after_a_mistake(self):
        """A context that leaves no half-traced step behind where it is left by an error.

        TensorFlow lets a function make variables (of metrics) in its first trace alone: one that a
        mistake broke off would refuse the right data that comes next.
        """
        try:
            yield
        except BaseException:  # Ctrl-C, too
            self.train_function = self.test_function = self.predict_function = None
            if self._folded_prediction is not None:
                self._folded_prediction = FoldedPrediction()
            raise

    # === Steps, in which JAX passes its state before the data ===

    def train_step(self, *args):
        """Takes a pair batch apart if it is one, or must be, and lets Keras do the rest."""
        *state, data = args
        if self.contrast_name is not None or holds_pairs(data):
            data = unpack_pair_batch(data)
        with self.replicas.training_step(self, data):
            return super().train_step(*state, data)

    def test_step(self, *args):
        check_single_images(args[-1], "evaluate()")
        with self.replicas.evaluation_step():
            return super().test_step(*args)

    def predict_step(self, *args):
        check_single_images(args[-1], "predict()")
        return super().predict_step(*args)

    def _contrastive_term(self, labels, embeddings, weights=None):
        """The contrastive loss, in which a pair weighs the mean of its two.

        Args:
            labels: Pair of labels, class numbers or one-hot, of the two images of every pair.
            embeddings: `(pairs, 2, embedding_dim)`.
            weights: Pair of the images' weights, or `None`. Defaults to `None`.
        """
        same_class = ops.equal(*(class_numbers(part, self.num_classes) for part in labels))
        pair_weights = None if weights is None else mean_of_two(weights)
        return self.contrastive_loss(ops.cast(same_class, "float32"), embeddings, pair_weights)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Metrics over all images; the terms of the loss in training only."""
        if not isinstance(y_pred, dict):
            results = super().compute_metrics(x, y, y_pred, sample_weight)
            return self._without_training_metrics(results)
        if is_pair(x):
            y, sample_weight = interleave_targets(y, sample_weight)
        return super().compute_metrics(x, y, y_pred["outputs"], sample_weight)

    def get_metrics_result(self):
        results = self.replicas.metrics_result(self.metrics, super().get_metrics_result)
        return self._without_training_metrics(results) if self._evaluates else results

    def make_train_function(self, force=False):
        check_current(self.replicas)
        self.replicas.prepare_training(self)
        if self.optimizer is not None and not self.optimizer.built:
            with self._strategy_scope():  # for the same reason as metrics
                self.optimizer.build(self.trainable_variables)
        if self._moved is None:
            self._moved = self._trained()
        if not self._trained() <= self._moved:
            raise ValueError(
                "Layers that are trained again were frozen when the model was compiled: call "
                "model.compile_from_config(model.get_compile_config()), or compile() with settings of your own. "
                f"Received: {len(self._trained() - self._moved)} such weights"
            )
        super().make_train_function(force or self._trained() != self._traced)
        self._traced = self._trained()
        self.train_function = keep_state(self, self.train_function, TRAIN_STATE)

    def _trained(self):
        """What tells the weights that are trained from others."""
        return frozenset(map(id, self.trainable_variables))

    def make_test_function(self, force=False):
        self.replicas.prepare_evaluation(self)
        super().make_test_function(force)
        self.test_function = keep_state(self, self.test_function, TEST_STATE)

    def make_predict_function(self, force=False):
        super().make_predict_function(force)
        self.predict_function = keep_state(self, self.predict_function, PREDICT_STATE)

    def _without_training_metrics(self, results):
        names = [tracker.name for tracker in self.training_trackers]
        return {name: value for name, value in results.items() if name not in names}

    # === Saving ===

    def save(self, filepath, *args, **kwargs):
        """As `keras.Model.save`; ValueError for what could not be loaded again, such as HDF5."""
        check_saveable(self, filepath)
        super().save(filepath, *args, **kwargs)

    def save_own_variables(self, store):
        """As of every Keras layer, and the whitening, which is no variable of the network."""
        super().save_own_variables(store)
        if self.whitening is not None:
            for name in WHITENING:
                store[f"{WHITENING_OF}{name}"] = getattr(self.whitening, name)

    def load_own_variables(self, store):
        """As of every Keras layer, and the whitening."""
        own = {key: store[key] for key in store.keys()}
        parts = {key: own.pop(key) for key in list(own) if key.startswith(WHITENING_OF)}
        super().load_own_variables(own)
        if len(parts) not in (0, len(WHITENING)):
            raise ValueError(f"The file holds a whitening in part: {', '.join(parts)} alone")
        arrays = [parts[f"{WHITENING_OF}{name}"] for name in WHITENING] if parts else None
        self.whitening = arrays and Whitening(*arrays)

    def load_weights(self, filepath, *args, **kwargs):
        """As `keras.Model.load_weights`, but says what a file of another head holds for nothing.

        Raises:
            ValueError: For a file that lacks what this head has.
        """
        check_weights_file(self, filepath)
        super().load_weights(filepath, *args, **kwargs)
        warn_of_unused_weights(self, filepath)

    def export(self, filepath, format="tf_saved_model", verbose=None, **kwargs):
        """Writes the inference path (no ψ, no embedding) for serving without this package.

        A SavedModel has two signatures that return the same: `class_names`, the name of the most
        likely class, strings `(batch,)` (its number, if the model has no names); `probabilities`,
        float32 `(batch, num_classes)`, with the `temperature`; and `embeddings`, float32
        `(batch, channels)`, the spatial mean of `Z` that the classifier sees (of an `NTS`, those of
        the parts and the whole side by side), or `(batch, dimensions)`, the same after the model's
        `whitening`, scaled to length 1, so that a product of two is their cosine similarity, for
        retrieval.

        With `embeddings=False` it has no `embeddings`, and is as much smaller as φ is folded into the
        classifier: of a ResNet-50 with 200 classes 112 MB instead of 249.

        - `serving_default` takes `images`: float32 `(batch, height, width, 3)`, RGB, 0 to 255;
        - `serving_bytes` takes `image_bytes`: strings `(batch,)`, whole JPEG or PNG files of any
          size, decoded as `cin_keras.data.image_dataset` does and cropped as it does within one
          grey level, to `image_size`. (Of a JPEG file of more than twice that size it decodes
          fewer pixels: 0.2 grey levels more on average.) A damaged one, or one of more than `max_pixels`, ends that
          request with an error, and the next one works.
          Left out, with a warning, while `image_size` is `None`.

        Beside them, `serve` and `serve_uint8` give the model's output alone, and `model_card()`
        gives class names, image size, settings and temperature as JSON, which also lie in
        `assets.extra/model_card.json`. An ONNX file holds that text in its metadata
        (`model_card`), a LiteRT file as an appended ZIP archive; these two have one input, images
        as for `serving_default`, and one output, that of the model; logits, divided by the
        `temperature` in that text, have the softmax that `probabilities` are.

        Args:
            filepath: Folder (or file, for formats other than SavedModel) to write.
            format: As for `keras.Model.export`: `"tf_saved_model"` (on TensorFlow and JAX),
                `"onnx"` (on TensorFlow and PyTorch; packages of `pip install ".[export]"`),
                `"litert"` (on TensorFlow) or another of Keras'. Defaults to `"tf_saved_model"`.
            verbose: Bool, whether to describe what was written. Defaults to `None`, Keras' own.
            **kwargs: As for `keras.Model.export`; for a SavedModel `jax2tf_kwargs`,
                `max_pixels` (int ≥ 1, 178,956,970) and `embeddings` (bool, `True`) alone, and an
                `input_signature` writes Keras' own, with `serve` and nothing else.

        Raises:
            RuntimeError: For a format that this backend cannot write, or not of this network: on
                PyTorch, an ONNX file for images of any size is compared with the network at other
                sizes before it is written. The sentence says what to do.
            ImportError: For a format whose converter is not installed.

        Example:

        ```python
        model.class_names = samples.class_names
        model.export("saved_model")
        served = tf.saved_model.load("saved_model")
        photographs = tf.constant([open("gull.jpg", "rb").read()])
        found = served.signatures["serving_bytes"](image_bytes=photographs)
        found["class_names"], found["probabilities"], found["embeddings"]
        served.serve(images)  # logits
        ```
        """
        export_inference(self, filepath, format=format, verbose=verbose, **kwargs)

    def get_config(self):
        if is_writing_hdf5():
            refuse_hdf5("keras.saving.save_model with the name of an HDF5 file")
        backbone = self.backbone_name or keras.saving.serialize_keras_object(self.backbone)
        return {
            **{argument: getattr(self, argument) for argument in self.kept_arguments()},
            "backbone": backbone,
            # Weights come with the file, or are the caller's to set: a config never downloads.
            "weights": None,
            "input_shape": self.input_shape[1:],
            # A supplied backbone is cut there already.
            "feature_layer": self.feature_layer if self.backbone_name else None,
            "interaction": self.interaction_name,
            "contrast": self.contrast_name,
            "dropout": self.dropout.rate,
            "name": self.name,
            # Lists and dicts may have changed in place.
            "class_names": check_class_names(self.class_names, self.num_classes),
            "settings": check_settings(self.settings),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trainable": self.trainable,
            "quantized_layers": quantized_layers(self),
            "frozen_layers": [
                *_frozen_layers(self.inference_layers),
                *(layer.name for layer in self.training_layers if not layer.trainable),
            ],
            # Of layers that the constructor makes anew, with what they are made of.
            "trainable_parts": [[p.trainable for p in parts] for parts in self._made_anew()],
            # A model that is stored as a name says nothing of its layers itself.
            "nested_frozen_layers": [_frozen_layers(m.layers) for m in self.nested_backbones],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = {**config, "weights": None}
        trainable = config.pop("trainable", True)
        frozen = config.pop("frozen_layers", [])
        trainable_parts = config.pop("trainable_parts", [])
        nested_frozen = config.pop("nested_frozen_layers", [])
        quantized = config.pop("quantized_layers", {})
        for key in ("backbone", "second_backbone", "dtype"):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(
                    config[key], custom_objects=custom_objects
                )
        with _data_format_scope(config.get("input_shape", (448, 448, 3))):
            model = cls(**config)
        quantize_layers(model, quantized)
        if not trainable:
            model.trainable = False
        for layer in model.training_layers:
            if layer.name in frozen:
                layer.trainable = False
                if model.interaction is not None:  # which the contrast shares
                    model.interaction.trainable = True
        for index, layer in enumerate(model.inference_layers):
            if index in frozen:
                # To what it already is, TensorFlow does not pass the setting on to the sublayers.
                layer.trainable = True
                layer.trainable = False
        for parts, flags in zip(model._made_anew(), trainable_parts):
            for part, flag in zip(parts, flags) if len(parts) == len(flags) else ():
                if not flag:
                    part.trainable = False
        for nested, numbers in zip(model.nested_backbones, nested_frozen):
            for index in set(numbers):
                nested.layers[index].trainable = False
        return model

    def _made_anew(self):
        """The layers inside the interaction, and those inside the contrast that it does not share."""
        shared = [] if self.interaction is None else all_layers(self.interaction)
        contrast = [] if self.contrast is None else all_layers(self.contrast)
        known = set(map(id, shared))
        return shared[1:], [layer for layer in contrast[1:] if id(layer) not in known]

    @classmethod
    def kept_arguments(cls):
        """The arguments that the model keeps as they are, each as the attribute of its name.

        Under the other names it has the layer made of the argument, or what every Keras model has.
        A class that a user derives may have others in its constructor.
        """
        layers = {"backbone", "second_backbone", "interaction", "contrast", "dropout"}
        of_keras = {"self", "weights", "input_shape", "name", "dtype"}
        own = next(base for base in cls.__mro__ if Classifier in base.__bases__)
        return [a for a in inspect.signature(own.__init__).parameters if a not in layers | of_keras]


def _is_one_batch(x, batch_size=None, steps=None, **_):
    """Whether `predict` is given so little that to look at all weights of φ would not pay."""
    return steps == 1 or (hasattr(x, "shape") and len(x) <= (batch_size or 32))


def _judges(given):
    return {name: given.get(name) for name in ("loss", "metrics", "weighted_metrics")}


def _as_metric(metric):
    return keras.metrics.MeanMetricWrapper(accuracy, "accuracy") if metric is accuracy else metric


def _frozen_layers(layers):
    """The numbers of the layers that are frozen whole; one frozen in part says so in its own config."""
    found = []
    for i, layer in enumerate(layers):
        parts = layer.layers if isinstance(layer, keras.Model) else []
        if not layer.trainable and not any(part.trainable for part in parts):
            found.append(i)
    return found


def height_and_width(input_shape, data_format):
    """`(height, width)` of an image's shape without the batch.

    Example:

    >>> height_and_width((96, 64, 3), "channels_last")
    (96, 64)
    """
    return input_shape[:2] if data_format == "channels_last" else input_shape[1:]


@contextlib.contextmanager
def _data_format_scope(input_shape):
    """Layers made inside have the image data format that a saved input shape tells.

    It may have been another one than this program's.
    """
    before = keras.config.image_data_format()
    first, last = (input_shape[axis] == 3 for axis in (0, -1))
    if first != last:
        keras.config.set_image_data_format("channels_first" if first else "channels_last")
    try:
        yield
    finally:
        keras.config.set_image_data_format(before)


def check_input_shape(input_shape):
    """Returns it as ints or `None`; ValueError unless it is the shape of an RGB image."""
    channels_last = keras.config.image_data_format() == "channels_last"
    expected = "(height, width, 3)" if channels_last else "(3, height, width)"
    shape = tuple(input_shape) if isinstance(input_shape, (tuple, list)) else ()
    if len(shape) != 3 or shape[2 if channels_last else 0] != 3:
        raise ValueError(
            f"`input_shape` must be {expected}. Received: input_shape={short(input_shape)}"
        )
    return tuple(
        check_int("height and width in input_shape", size, least=1, or_none=True)
        for size in shape
    )


def check_kept(given):
    """Raises ValueError for arguments that every classifier keeps as they are, before it is built.

    Args:
        given: Dict of all arguments of its constructor, the numbers and the shape checked.
    """
    if given["classifier_activation"] not in (None, "softmax"):
        raise ValueError(
            "`classifier_activation` must be None (logits) or 'softmax'. "
            f"Received: classifier_activation={given['classifier_activation']!r}"
        )
    num_classes = given["num_classes"]
    check_class_names(given["class_names"], num_classes)
    size = height_and_width(given["input_shape"], keras.config.image_data_format())
    choose_image_size(given["image_size"], size)
    check_settings(given["settings"])
    check_number("temperature", given["temperature"], above=0)
    check_hierarchy(given["hierarchy"], range(num_classes))
