"""Writes the inference path of a model for serving."""

import keras


def export_inference(model, filepath, format="tf_saved_model", verbose=None, **kwargs):
    """Exports `model`'s functional graph, without what only training needs.

    Arguments, errors and an example stand with `cin_keras.CIN.export`.
    """
    inference = keras.Model(model.input, model.output, name=model.name)
    if format != "tf_saved_model" or "input_signature" in kwargs:
        inference.export(filepath, format=format, verbose=verbose, **kwargs)
        return
    backend = keras.backend.backend()
    if backend == "torch":
        raise RuntimeError(
            "Keras cannot write a SavedModel on the PyTorch backend. Save the model here, "
            "model.save('model.keras'), load it with KERAS_BACKEND=tensorflow, "
            "keras.saving.load_model('model.keras'), and export it there."
        )
    archive = keras.export.ExportArchive()
    if backend == "jax":
        archive.track(inference)
        kwargs["jax2tf_kwargs"] = {
            "native_serialization_platforms": ("cpu", "cuda"),
            # Gradients through a graph of unknown height and width cannot be exported.
            "with_gradient": False,
            **kwargs.get("jax2tf_kwargs", {}),
        }
    else:
        # `track` would write every variable twice, as Keras' own and as the endpoints'.
        archive.add_variable_collection("variables", [v.value for v in inference.variables])
    for endpoint, dtype in (("serve", "float32"), ("serve_uint8", "uint8")):
        archive.add_endpoint(
            endpoint,
            lambda images: inference(keras.ops.cast(images, "float32"), training=False),
            input_signature=[keras.InputSpec(shape=model.input.shape, dtype=dtype)],
            **kwargs,
        )
    archive.write_out(filepath, verbose=verbose)
