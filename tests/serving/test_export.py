import json
import os
import subprocess
import sys
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.data.decoding import decode
from cin_keras.serving import decoding
from cin_keras.serving.decoding import crop_in_graph
from cin_keras.serving.folding import folded_inference
from tests import processes
from tests.models.networks import normalized_backbone, pair_batch, tiny_cin, uncompiled

pytestmark = pytest.mark.every_backend
no_saved_model = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras writes no SavedModel on PyTorch"
)

SERVE = """
import json, sys
sys.modules["keras"] = None
sys.modules["cin_keras"] = None
import numpy as np, tensorflow as tf

def described(served, signature, **inputs):
    outputs = served.signatures[signature](**inputs)
    names = [name.decode() for name in outputs.pop("class_names").numpy()]
    return {"class_names": names, **{key: value.numpy().tolist() for key, value in outputs.items()}}

def serve(folder, images, files):
    served = tf.saved_model.load(folder)
    outputs = {
        "serve": served.serve(images.astype("float32")),
        "serve_uint8": served.serve_uint8(images),
        "one": served.serve(images[:1].astype("float32")),
    }
    outputs = {name: value.numpy().tolist() for name, value in outputs.items()}
    tensor = tf.constant(images, tf.float32)
    outputs["tensors"] = described(served, "serving_default", images=tensor)
    outputs["card"] = served.model_card().numpy().decode()
    if files:
        damaged = files[1][:len(files[1]) // 2]
        try:
            described(served, "serving_bytes", image_bytes=tf.constant([files[0], damaged]))
        except tf.errors.InvalidArgumentError as error:
            outputs["error"] = str(error)
        outputs["bytes"] = described(served, "serving_bytes", image_bytes=tf.constant(files))
    outputs["count"] = sum(int(np.prod(v.shape)) for v in served.variables)
    outputs["stored"] = sum(
        int(np.prod(shape))
        for name, shape in tf.train.list_variables(folder + "/variables/variables")
        if not name.startswith("_CHECKPOINTABLE")
    )
    return outputs


images = np.load(sys.argv[1])
files = [open(path, "rb").read() for path in json.loads(sys.argv[2])]
print(json.dumps([serve(folder, images, files) for folder in sys.argv[3:]]))
"""

TO_TENSORFLOW = """
import sys, keras, cin_keras
model = keras.saving.load_model(sys.argv[1])
model.export(sys.argv[2], verbose=False)
"""


def serve(folders, images, tmp_path, files=()):
    """What TensorFlow alone, in a process of its own, makes of images and files with each model."""
    np.save(tmp_path / "images.npy", images)
    files = json.dumps([str(path) for path in files])
    done = processes.run("-c", SERVE, tmp_path / "images.npy", files, *folders)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def trained_model(size=8, **form):
    images, labels = pair_batch(size=size or 8)
    model = tiny_cin(backbone=normalized_backbone(size), size=size, embedding_dim=9, **form)
    uncompiled(model).fit(images, labels, batch_size=2, verbose=0)
    return model, images[0]


def check_description(outputs, images, model):
    """Of images, against the Keras model."""
    logits = model.predict(images, verbose=0).astype("float64")
    exponentials = np.exp((logits - logits.max(axis=1, keepdims=True)) / model.temperature)
    pooled = keras.Model(model.input, model.get_layer("dropout").output).predict(images, verbose=0)
    assert outputs["class_names"] == [model.class_names[i] for i in logits.argmax(axis=1)]
    for name, expected in {
        "probabilities": exponentials / exponentials.sum(axis=1, keepdims=True),
        "embeddings": pooled / np.linalg.norm(pooled, axis=1, keepdims=True),
    }.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)


def check(outputs, expected, model):
    for name in ("serve", "serve_uint8"):
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs["one"], expected[:1], rtol=1e-4, atol=1e-4)
    training_only = model.contrast.psi.weights + model.embedding.weights
    inference = model.count_params() - sum(int(np.prod(w.shape)) for w in training_only)
    assert outputs["count"] == inference, "ψ and the embedding are not in the file"
    assert outputs["stored"] == inference, "every weight is in the file once"


def write_images(folder, size):
    """Drawings as JPEG and PNG, large and small, one of them lying on its side, one transparent."""
    samples = cin_keras.data.drawn_cars(images_per_class=1, image_size=3 * size)
    drawings = [samples.read(i) for i in range(0, 12, 3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    drawings[0].resize((70, 50)).save(folder / "0.jpg", exif=exif)
    drawings[1].save(folder / "1.png")
    drawings[2].convert("L").resize((9, 30)).save(folder / "2.jpg", quality=60)
    drawings[3].putalpha(drawings[0].convert("L"))
    drawings[3].save(folder / "3.png")
    return sorted([*folder.glob("*.jpg"), *folder.glob("*.png")])


@no_saved_model
def test_tensorflow_alone_serves_the_same_numbers(tmp_path, decoder_once):
    size, settings = 16, {"epochs": 1}
    models, folders = [], []
    forms = {}, {"pooled": False, "block_rows": 4}
    # JAX takes ten seconds to write one, and writes the layers of both forms by the same way.
    for i, form in enumerate(forms[:1] if keras.backend.backend() == "jax" else forms):
        model, images = trained_model(
            size, class_names=["a", "b", "Möwe"], settings=settings, temperature=0.5 + i, **form
        )
        models.append(model)
        folders.append(tmp_path / f"saved_model_{i}")
        model.export(folders[-1], verbose=False)
    files = write_images(tmp_path, size)
    crops = np.stack([crop_in_graph(np.asarray(decode(path)), size, size) for path in files])
    assert np.ptp(crops.mean(axis=(1, 2, 3))) > 1, "the images differ"
    served = serve(folders, images, tmp_path, files)
    for model, folder, outputs in zip(models, folders, served, strict=True):
        check(outputs, model.predict(images, verbose=0), model)
        check_description(outputs["tensors"], images, model)
        check_description(outputs["bytes"], crops, model)
        assert "The image at index 1 of the request is damaged or breaks off" in outputs["error"]
        written = folder / "assets.extra" / "model_card.json"
        assert written.read_text() == outputs["card"]
        assert json.loads(outputs["card"]) == {
            "class_names": model.class_names,
            "image_size": [size, size],
            "settings": settings,
            "temperature": model.temperature,
            "hierarchy": None,
            "name": model.name,
        }


@pytest.mark.every_backend(on_jax=False)
@no_saved_model
def test_probabilities_of_a_softmax_and_classes_without_names(tmp_path, png_decoder):
    import tensorflow as tf

    model = tiny_cin(classifier_activation="softmax", temperature=2.0)
    model.export(tmp_path / "saved_model", verbose=False)
    images = pair_batch()[0][0].astype("float32")
    expected = model.predict(images, verbose=0)
    outputs = tf.saved_model.load(tmp_path / "saved_model").signatures["serving_default"](
        images=tf.constant(images)
    )
    halved = expected**0.5  # softmax(logits / 2)
    halved /= halved.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["probabilities"], halved, atol=1e-5)
    names = [name.decode() for name in outputs["class_names"].numpy()]
    assert names == [str(i) for i in expected.argmax(axis=1)]


@pytest.mark.every_backend(on_jax=False)
@no_saved_model
def test_without_embeddings_phi_is_folded_into_the_scores(tmp_path, png_decoder):
    import tensorflow as tf

    model, images = trained_model(class_names=["a", "b", "c"])
    model.export(tmp_path / "scores", verbose=False, embeddings=False)
    served = tf.saved_model.load(tmp_path / "scores")
    assert set(served.signatures) >= {"serving_default", "serving_bytes"}
    found = served.signatures["serving_default"](images=tf.constant(images, tf.float32))
    assert set(found) == {"class_names", "probabilities"}
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(served.serve_uint8(images), expected, rtol=1e-4, atol=1e-4)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(expected))
    np.testing.assert_allclose(found["probabilities"], probabilities, rtol=1e-4, atol=1e-4)
    variables = tf.train.list_variables(str(tmp_path / "scores" / "variables" / "variables"))
    sizes = [np.prod(shape) for name, shape in variables if not name.startswith("_CHECKPOINT")]
    folded, whole = (n.count_params() for n in (folded_inference(model), model))
    assert sum(map(int, sizes)) == folded < whole
    with pytest.raises(ValueError, match="`embeddings` must be True or False. Received: .*no"):
        model.export(tmp_path / "other", embeddings="no")
    with pytest.raises(ValueError, match="`max_pixels` is for a SavedModel.*max_pixels=9"):
        model.export(tmp_path / "m.onnx", format="onnx", max_pixels=9)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the others export by themselves")
def test_a_model_saved_here_is_exported_by_tensorflow(tmp_path):
    model, images = trained_model(size=None)  # without what decodes files, which takes long to write
    model.save(tmp_path / "model.keras")
    command = [sys.executable, "-c", TO_TENSORFLOW, tmp_path / "model.keras", tmp_path / "saved_model"]
    subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "tensorflow"}, check=True)
    (outputs,) = serve([tmp_path / "saved_model"], images, tmp_path)
    check(outputs, model.predict(images, verbose=0), model)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="an error of this backend")
def test_pytorch_says_what_works_instead(tmp_path):
    with pytest.raises(RuntimeError, match="KERAS_BACKEND=tensorflow"):
        tiny_cin().export(tmp_path / "saved_model")


@pytest.mark.every_backend(on_jax=False)
@no_saved_model
def test_the_limit_of_pixels(tmp_path, monkeypatch, capsys):
    import tensorflow as tf

    traced = mock.Mock(wraps=decoding.decode_in_graph)
    monkeypatch.setattr(decoding, "decode_in_graph", traced)
    model = tiny_cin()
    with pytest.raises(ValueError, match="`max_pixels` must be an int of at least 1.*0"):
        model.export(tmp_path / "saved_model", max_pixels=0)
    model.export(tmp_path / "saved_model", max_pixels=1000)
    said = "saved_model'. Endpoints: serve, serve_uint8, serving_default, model_card, serving_bytes.\n"
    assert capsys.readouterr().out.endswith(said)
    assert traced.call_count == 1, "traced once, which takes long"
    serve = tf.saved_model.load(tmp_path / "saved_model").signatures["serving_bytes"]
    for size, fits in [((40, 25), True), ((41, 25), False)]:
        Image.new("RGB", size).save(tmp_path / "image.png")
        files = tf.constant([(tmp_path / "image.png").read_bytes()])
        if fits:
            assert serve(image_bytes=files)["probabilities"].shape == (1, model.num_classes)
            continue
        with pytest.raises(tf.errors.InvalidArgumentError, match="more than 1000 pixels"):
            serve(image_bytes=files)


@no_saved_model
def test_unknown_image_size(tmp_path, decoder_once):
    import tensorflow as tf

    backbone = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)])
    model = cin_keras.CIN(3, backbone=backbone, input_shape=(None, None, 3))
    with pytest.warns(UserWarning, match="`model.image_size` is not set.*no signature"):
        model.export(tmp_path / "saved_model", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved_model")
    assert "serving_bytes" not in served.signatures
    for size in (8, 13):
        images, _ = pair_batch(size=size)
        np.testing.assert_allclose(
            served.serve_uint8(images[0]), model.predict(images[0], verbose=0), rtol=1e-4, atol=1e-4
        )


def run_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(path)
    outputs = session.run(None, {session.get_inputs()[0].name: images.astype("float32")})
    assert len(outputs) == 1
    return outputs[0], session.get_modelmeta().custom_metadata_map["model_card"]


def run_litert(path, images):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, images.astype("float32"))
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output, zipfile.ZipFile(path).read("model_card.json").decode()


@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize(
    "format, run, backends",
    [("onnx", run_onnx, ("tensorflow", "torch")), ("litert", run_litert, ("tensorflow",))],
)
def test_other_formats_give_the_same_numbers(tmp_path, format, run, backends):
    backend = keras.backend.backend()
    path = tmp_path / ("model.tflite" if format == "litert" else "model.onnx")
    if backend not in backends:
        with pytest.raises(RuntimeError, match=f"cannot be written on the {backend} backend.*load"):
            tiny_cin().export(path, format=format)
        assert not path.exists()
        return
    if format == "onnx":
        pytest.importorskip("tf2onnx" if backend == "tensorflow" else "onnxscript")
    names = ["a", "b", "Möwe"]
    model, images = trained_model(class_names=names, settings={"epochs": 1}, block_rows=2)
    model.export(path, format=format, verbose=False)
    assert model.interaction.block_rows == 2
    expected = model.predict(images, verbose=0)
    for count in (len(images), 1):
        outputs, text = run(path, images[:count])
        np.testing.assert_allclose(outputs, expected[:count], rtol=1e-4, atol=1e-4)
    described = json.loads(text)
    assert described["class_names"] == model.class_names
    assert (described["image_size"], described["settings"]) == ([8, 8], {"epochs": 1})


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this backend writes no ONNX")
def test_a_missing_converter_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="To write ONNX .* must be installed: pip install .*onnx"):
        tiny_cin().export(tmp_path / "model.onnx", format="onnx")
