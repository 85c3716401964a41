"""Writes the inference path of a model for serving."""

import os
import pathlib
import warnings

import keras
import numpy as np

from cin_keras.checks import check_bool, check_int, short
from cin_keras.data.decoding import MAX_PIXELS
from cin_keras.files import named_if_not_written, whole_file
from cin_keras.serving.folding import folded_inference
from cin_keras.serving.formats import (
    FORMAT_NAMES,
    IN_TENSORFLOW,
    as_runtimes_compute,
    check_ending,
    check_format,
    frequent_collections,
    reason,
    write_litert_metadata,
    write_onnx_metadata,
)
from cin_keras.serving.model_card import card
from cin_keras.serving.onnx_from_torch import write_onnx


def export_inference(model, filepath, format="tf_saved_model", verbose=None, **kwargs):
    """Exports `model`'s functional graph, without what only training needs.

    Arguments, errors and an example stand with `cin_keras.CIN.export`.
    """
    check_ending(filepath, format)
    if format == "tf_saved_model" and "input_signature" not in kwargs:
        export_saved_model(model, filepath, verbose, **kwargs)
        return
    for name in {"embeddings", "max_pixels"} & kwargs.keys():
        raise ValueError(
            f"`{name}` is for a SavedModel with the signatures of cin_keras: leave it out. "
            f"Received: format={format!r}, {name}={short(kwargs[name])}"
        )
    if format not in FORMAT_NAMES:
        inference = keras.Model(model.input, model.output, name=model.name)
        inference.export(str(filepath), format=format, verbose=verbose, **kwargs)
        return
    check_format(format)
    with whole_file(filepath) as whole, as_runtimes_compute(model):
        partial = whole.with_suffix(whole.suffix.lower())  # Keras wants it in small letters
        inference = folded_inference(model)
        try:
            if format == "onnx":
                _write_onnx(inference, model, partial, **kwargs)
                write_onnx_metadata(partial, model)
            else:
                _convert(inference, partial, format, **kwargs)
                write_litert_metadata(partial, model)
            os.replace(partial, whole)
        finally:
            if partial != whole:
                partial.unlink(missing_ok=True)
    if verbose is not False:
        print(f"Saved artifact at '{filepath}'.")


def _write_onnx(inference, model, filepath, input_signature=None, **kwargs):
    # Without a signature, Keras refuses a network that was never called.
    images = keras.InputSpec(shape=model.input.shape, dtype="float32", name="images")
    signature = input_signature or [images]
    if keras.backend.backend() == "torch":
        (images,) = keras.tree.flatten(signature)
        write_onnx(inference, filepath, images, model.data_format, model.image_size, **kwargs)
        return
    with frequent_collections():
        _convert(inference, filepath, "onnx", input_signature=signature, **kwargs)


def _convert(inference, filepath, format, **kwargs):
    """Has Keras write a file, and says in one sentence why it could not."""
    try:
        inference.export(str(filepath), format=format, verbose=False, **kwargs)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converters raise many kinds
        raise RuntimeError(
            f"{FORMAT_NAMES[format]} cannot be written of this network on the "
            f"{keras.backend.backend()} backend: {reason(error)}. Leave out the layer that it "
            "names, or choose another format."
        ) from error


def export_saved_model(
    model, filepath, verbose=None, jax2tf_kwargs=None, max_pixels=MAX_PIXELS, embeddings=True
):
    """Writes a SavedModel that needs TensorFlow alone; see `cin_keras.CIN.export`."""
    if keras.backend.backend() == "torch":
        raise RuntimeError(f"Keras cannot write a SavedModel on the PyTorch backend. {IN_TENSORFLOW}")
    check_int("max_pixels", max_pixels, least=1)
    embeddings = check_bool("embeddings", embeddings)
    import tensorflow as tf

    from cin_keras.serving.decoding import crop_in_graph, decode_in_graph, turn_upright

    archive = keras.export.ExportArchive()
    network = folded_inference(model, embeddings)
    channels_first = model.data_format == "channels_first"
    compute = _as_tensorflow(network, archive, jax2tf_kwargs, channels_first)
    text, temperature = card(model), model.temperature
    shape = model.input.shape
    names = model.class_names or [str(number) for number in range(model.num_classes)]
    # Names of folders may hold bytes that are no UTF-8.
    names = tf.constant([name.encode("utf-8", "surrogateescape") for name in names])

    def forward(images):
        return tf.nest.flatten(compute(images))

    def describe(images):
        outputs, *seen = forward(images)
        probabilities = outputs
        if model.classifier_activation is None:
            probabilities = tf.nn.softmax(outputs / temperature)
        elif temperature != 1:
            logits = tf.math.log(tf.maximum(outputs, np.finfo("float32").tiny))
            probabilities = tf.nn.softmax(logits / temperature)
        found = {
            "class_names": tf.gather(names, tf.argmax(probabilities, axis=1)),
            "probabilities": probabilities,
        }
        if seen:
            found["embeddings"] = tf.math.l2_normalize(tf.cast(seen[0], tf.float32), axis=1)
        return found

    def read(image_bytes):
        height, width = model.image_size

        def read_one(inputs):
            image, orientation = decode_in_graph(*inputs, max_pixels)
            # The crop is turned, which is small.
            cropped = crop_in_graph(image, height, width, sideways=orientation >= 5)
            return tf.ensure_shape(turn_upright(cropped, orientation), (height, width, 3))

        # Strings and whole numbers are the processor's.
        with tf.device("/CPU:0"):
            images = tf.map_fn(
                read_one,
                (image_bytes, tf.range(tf.size(image_bytes))),
                fn_output_signature=tf.TensorSpec((height, width, 3), tf.uint8),
            )
        images = tf.cast(tf.ensure_shape(images, (None, height, width, 3)), tf.float32)
        return tf.transpose(images, (0, 3, 1, 2)) if channels_first else images

    def spec(dtype):
        return [tf.TensorSpec(shape, dtype, "images")]

    endpoints = {
        "serve": (lambda images: forward(images)[0], spec(tf.float32)),
        "serve_uint8": (lambda images: forward(tf.cast(images, tf.float32))[0], spec(tf.uint8)),
        "serving_default": (describe, spec(tf.float32)),
        "model_card": (lambda: tf.constant(text), []),
    }
    if model.image_size is None:
        warnings.warn(
            "The network takes images of any size and `model.image_size` is not set, so the "
            "SavedModel gets no signature `serving_bytes` for JPEG and PNG: set it and export "
            "again.",
            stacklevel=4,
        )
    else:
        signature = [tf.TensorSpec((None,), tf.string, "image_bytes")]
        read = _traced(read, signature)
        endpoints["serving_bytes"] = (lambda image_bytes: describe(read(image_bytes)), signature)
    for name, (function, signature) in endpoints.items():
        endpoint = tf.function(function, input_signature=signature, autograph=False)
        endpoint.get_concrete_function()
        archive.add_endpoint(name, endpoint)
    with named_if_not_written(filepath, is_folder=True):
        try:
            archive.write_out(filepath, verbose=verbose is True)
        except tf.errors.OpError as error:
            is_full = isinstance(error, tf.errors.ResourceExhaustedError)
            own = error.message.rpartition("; ")[2].partition(" [Op:")[0]
            raise OSError("No space left on device" if is_full else own) from error
    if verbose is None:
        print(f"Saved artifact at '{filepath}'. Endpoints: {', '.join(endpoints)}.")
    extra = pathlib.Path(filepath) / "assets.extra"
    extra.mkdir(exist_ok=True)
    (extra / "model_card.json").write_text(text)


def _as_tensorflow(network, archive, jax2tf_kwargs, channels_first):
    """The network as a function of TensorFlow, its variables in the archive, each once."""
    import tensorflow as tf

    signature = [tf.TensorSpec(network.input.shape, tf.float32)]
    if keras.backend.backend() != "jax":
        # `track` would write every variable twice, as Keras' own and as the endpoints'.
        archive.add_variable_collection("variables", [v.value for v in network.variables])
        return _traced(lambda images: network(images, training=False), signature)
    from jax.experimental import jax2tf

    archive.track(network)
    variables = list(archive.variables)
    trainable = len(network.trainable_variables)

    def stateless(weights, images):
        outputs, _ = network.stateless_call(
            weights[:trainable], weights[trainable:], images, training=False
        )
        return outputs

    sizes = ("batch", "height", "width", "channels")
    if channels_first:
        sizes = ("batch", "channels", "height", "width")
    sizes = [name if size is None else str(size) for name, size in zip(sizes, network.input.shape)]
    converted = jax2tf.convert(
        stateless,
        **{
            "polymorphic_shapes": [None, f"({', '.join(sizes)})"],
            "native_serialization_platforms": ("cpu", "cuda"),
            # Gradients through a graph of unknown height and width cannot be exported.
            "with_gradient": False,
            **(jax2tf_kwargs or {}),
        },
    )
    return _traced(lambda images: converted(variables, images), signature)


def _traced(function, signature):
    """A graph of its own, made once: TensorFlow traces every endpoint again when it saves them."""
    import tensorflow as tf

    return tf.function(function, signature, autograph=False).get_concrete_function()
