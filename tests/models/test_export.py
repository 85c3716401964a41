import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import cin_keras
from tests.models.networks import normalized_backbone, pair_batch, tiny_cin, uncompiled

SERVE = """
import json, sys
sys.modules["keras"] = None
sys.modules["cin_keras"] = None
import numpy as np, tensorflow as tf

def serve(folder, images):
    served = tf.saved_model.load(folder)
    outputs = {
        "serve": served.serve(images.astype("float32")),
        "serve_uint8": served.serve_uint8(images),
        "one": served.serve(images[:1].astype("float32")),
        "signature": list(served.signatures["serving_default"](
            tf.constant(images, tf.float32)).values())[0],
    }
    outputs = {name: value.numpy().tolist() for name, value in outputs.items()}
    outputs["variables"] = [v.name for v in served.signatures["serving_default"].variables]
    outputs["count"] = sum(int(np.prod(v.shape)) for v in served.variables)
    outputs["stored"] = sum(
        int(np.prod(shape))
        for name, shape in tf.train.list_variables(folder + "/variables/variables")
        if not name.startswith("_CHECKPOINTABLE")
    )
    return outputs


images = np.load(sys.argv[1])
print(json.dumps([serve(folder, images) for folder in sys.argv[2:]]))
"""

TO_TENSORFLOW = """
import sys, keras, cin_keras
model = keras.saving.load_model(sys.argv[1])
model.export(sys.argv[2], verbose=False)
"""


def run_python(script, *arguments, backend="tensorflow"):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def serve(folders, images, tmp_path):
    """What TensorFlow alone, in a process of its own, makes of the images with each model."""
    np.save(tmp_path / "images.npy", images)
    return json.loads(run_python(SERVE, tmp_path / "images.npy", *folders).splitlines()[-1])


def trained_model(**form):
    images, labels = pair_batch()
    model = tiny_cin(backbone=normalized_backbone(), embedding_dim=9, **form)
    uncompiled(model).fit(images, labels, batch_size=2, verbose=0)
    return model, images[0]


def check(outputs, expected, model):
    for name in ("serve", "serve_uint8", "signature"):
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs["one"], expected[:1], rtol=1e-4, atol=1e-4)
    training_only = model.contrast.psi.weights + model.embedding.weights
    inference = model.count_params() - sum(int(np.prod(w.shape)) for w in training_only)
    assert outputs["count"] == inference, "ψ and the embedding are not in the file"
    assert outputs["stored"] == inference, "every weight is in the file once"


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras writes no SavedModel on PyTorch"
)
def test_tensorflow_alone_serves_the_same_numbers(tmp_path):
    models, folders = [], []
    for i, form in enumerate(({}, {"pooled": False}, {"block_rows": 4})):
        model, images = trained_model(**form)
        models.append(model)
        folders.append(tmp_path / f"saved_model_{i}")
        model.export(folders[-1], verbose=False)
    for model, outputs in zip(models, serve(folders, images, tmp_path), strict=True):
        check(outputs, model.predict(images, verbose=0), model)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="the detour of the others")
def test_a_model_saved_here_is_exported_by_tensorflow(tmp_path):
    model, images = trained_model()
    model.save(tmp_path / "model.keras")
    run_python(TO_TENSORFLOW, tmp_path / "model.keras", tmp_path / "saved_model")
    (outputs,) = serve([tmp_path / "saved_model"], images, tmp_path)
    check(outputs, model.predict(images, verbose=0), model)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="an error of this backend")
def test_pytorch_says_what_works_instead(tmp_path):
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow"):
        tiny_cin().export(tmp_path / "saved_model")


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras writes no SavedModel on PyTorch"
)
def test_unknown_image_size(tmp_path):
    import tensorflow as tf

    backbone = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)])
    model = cin_keras.CIN(3, backbone=backbone, input_shape=(None, None, 3))
    model.export(tmp_path / "saved_model", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved_model")
    for size in (8, 13):
        images, _ = pair_batch(size=size)
        np.testing.assert_allclose(
            served.serve_uint8(images[0]), model.predict(images[0], verbose=0), rtol=1e-4, atol=1e-4
        )
