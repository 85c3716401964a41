"""What each form of a trained model takes to answer one request, and to store."""

import functools
import importlib.util
import io
import pathlib
import tempfile

import keras
import numpy as np
from PIL import Image

from cin_keras.files import megabytes
from cin_keras.measuring.costs import relative_difference
from cin_keras.measuring.rounds import by_turns, seconds, spread
from cin_keras.measuring.tables import markdown_table, with_quartiles

KERAS, TENSORS, BYTES = "Keras, predict", "SavedModel, tensors", "SavedModel, JPEG"
SCORES = "SavedModel, no embeddings"
ONNX, LITERT = "ONNX, onnxruntime", "LiteRT"


def measure_serving(model, rounds, seed):
    """Milliseconds of one image and megabytes on disk of every form that can be written here.

    In every round each form has its turn, so that what disturbs the machine disturbs all.

    Args:
        model: `CIN` of a fixed input size.
        rounds: Int ≥ 1.
        seed: Int, of the image.

    Returns:
        Dict from names of forms to dicts: `milliseconds`, a list of one float a round;
        `megabytes`, float; and `difference`, of the output to Keras', relative to its largest.
    """
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 255, (1, *model.image_size, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        forms = write_forms(model, pathlib.Path(folder), rng)
        outputs = {name: answer(image) for name, (answer, _) in forms.items()}
        times = by_turns(
            {
                name: lambda number, answer=answer: 1000 * seconds(answer, image)
                for name, (answer, _) in forms.items()
            },
            rounds,
        )
        sizes = {name: megabytes(path) for name, (_, path) in forms.items()}
    logits = np.asarray(outputs[KERAS])
    expected = dict.fromkeys((TENSORS, SCORES), np.asarray(keras.ops.softmax(logits)))
    return {
        name: {
            "milliseconds": times[name],
            "megabytes": sizes[name],
            # What is answered to a JPEG file is of another image.
            "difference": None
            if name == BYTES
            else relative_difference(np.asarray(outputs[name]), expected.get(name, logits)),
        }
        for name in forms
    }


def write_forms(model, folder, rng):
    """Writes the model; from names to functions, image to output, and what was written."""
    model.save(folder / "model.keras")
    forms = {KERAS: (lambda image: model.predict(image, verbose=0), folder / "model.keras")}
    backend = keras.backend.backend()
    if backend != "torch":
        forms |= saved_model_forms(model, folder, rng)
    if backend != "jax" and has("onnxruntime", "onnxscript" if backend == "torch" else "tf2onnx"):
        forms[ONNX] = onnx_form(model, folder / "model.onnx")
    if backend == "tensorflow":
        forms[LITERT] = litert_form(model, folder / "model.tflite")
    return forms


def saved_model_forms(model, folder, rng):
    """As `write_forms`, of SavedModels: given an image, and given a JPEG file of another one."""
    import tensorflow as tf

    whole, scores = folder / "saved_model", folder / "scores"
    model.export(whole, verbose=False)
    model.export(scores, verbose=False, embeddings=False)
    signatures = {path: tf.saved_model.load(path).signatures for path in (whole, scores)}
    # Smooth, as photographs are, and larger than the network's image.
    height, width = model.image_size
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype("uint8"))
    file = io.BytesIO()
    small.resize((width * 8 // 7, height * 8 // 7), Image.Resampling.BICUBIC).save(file, "JPEG")
    photograph = tf.constant([file.getvalue()])

    def tensors(image, path=whole):
        serve = signatures[path]["serving_default"]
        return serve(images=tf.constant(image))["probabilities"].numpy()

    def encoded(image):
        serve = signatures[whole]["serving_bytes"]
        return serve(image_bytes=photograph)["probabilities"].numpy()

    alone = functools.partial(tensors, path=scores)
    return {TENSORS: (tensors, whole), BYTES: (encoded, whole), SCORES: (alone, scores)}


def onnx_form(model, path):
    """The function and the file of `write_forms`, of ONNX with its own number of threads."""
    import onnxruntime

    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0], path


def litert_form(model, path):
    """The function and the file of `write_forms`, of LiteRT with two threads."""
    import tensorflow as tf

    model.export(path, format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(str(path), num_threads=2)
    interpreter.allocate_tensors()
    place = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]

    def answer(image):
        interpreter.set_tensor(place, image)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return answer, path


def has(*modules):
    """Whether all are installed; says so if not."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        print(f"ONNX is left out: {' and '.join(missing)} not installed.")
    return not missing


def exported_megabytes(model):
    """Float, of a SavedModel without embeddings; on PyTorch, of the `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "exported"
        if keras.backend.backend() == "torch":
            path = path.with_suffix(".keras")
            keras.Model(model.input, model.output).save(path)
        else:
            model.export(path, verbose=False, embeddings=False)
        return megabytes(path)


def serving_table(results):
    """The results of `measure_serving` in Markdown: medians (quartiles), ratio to Keras, size."""
    reference = np.median(results[KERAS]["milliseconds"])
    rows = []
    for name, result in results.items():
        time = spread(result["milliseconds"])
        cell = with_quartiles(time["median"], time["quartiles"])
        ratio = time["median"] / reference
        rows.append([name, cell, f"{ratio:.2f}", f"{result['megabytes']:.0f} MB"])
    return markdown_table(["", "one image, ms", "ratio", "size"], rows)
