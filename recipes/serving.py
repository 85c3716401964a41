"""What each form of a trained model takes to answer one request; for `benchmark.py --serving`."""

import importlib.util
import io
import pathlib
import tempfile
import time

import keras
import numpy as np
from PIL import Image

KERAS, TENSORS, BYTES = "Keras, predict", "SavedModel, tensors", "SavedModel, JPEG"
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
    height, width = model.image_size
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 255, (1, height, width, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        forms = write_forms(model, pathlib.Path(folder), rng)
        outputs = {name: answer(image) for name, (answer, _) in forms.items()}
        times = {name: [] for name in forms}
        for _ in range(rounds):
            for name, (answer, _) in forms.items():
                start = time.perf_counter()
                answer(image)
                times[name].append(1000 * (time.perf_counter() - start))
        sizes = {name: megabytes(path) for name, (_, path) in forms.items()}
    expected = np.asarray(outputs[KERAS])
    probabilities = np.asarray(keras.ops.softmax(expected))
    results = {}
    for name in forms:
        # The photograph's output is of another image.
        reference = {TENSORS: probabilities, BYTES: None}.get(name, expected)
        results[name] = {
            "milliseconds": times[name],
            "megabytes": sizes[name],
            "difference": None
            if reference is None
            else float(np.abs(outputs[name] - reference).max() / np.abs(reference).max()),
        }
    return results


def write_forms(model, folder, rng):
    """Writes the model; from names to functions, image to output, and what was written."""
    model.save(folder / "model.keras")
    forms = {KERAS: (lambda image: model.predict(image, verbose=0), folder / "model.keras")}
    backend = keras.backend.backend()
    if backend != "torch":
        forms |= saved_model_forms(model, folder / "saved_model", rng)
    if backend != "jax" and has("onnxruntime", "onnxscript" if backend == "torch" else "tf2onnx"):
        forms[ONNX] = onnx_form(model, folder / "model.onnx")
    if backend == "tensorflow":
        forms[LITERT] = litert_form(model, folder / "model.tflite")
    return forms


def saved_model_forms(model, path, rng):
    import tensorflow as tf

    model.export(path, verbose=False)
    signatures = tf.saved_model.load(path).signatures
    # Smooth, as photographs are, and larger than the network's image.
    height, width = model.image_size
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3)).astype("uint8"))
    file = io.BytesIO()
    small.resize((width * 8 // 7, height * 8 // 7), Image.Resampling.BICUBIC).save(file, "JPEG")
    photograph = tf.constant([file.getvalue()])

    def tensors(image):
        return signatures["serving_default"](images=tf.constant(image))["probabilities"].numpy()

    def encoded(image):
        return signatures["serving_bytes"](image_bytes=photograph)["probabilities"].numpy()

    return {TENSORS: (tensors, path), BYTES: (encoded, path)}


def onnx_form(model, path):
    import onnxruntime

    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0], path


def litert_form(model, path):
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


def megabytes(path):
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def serving_table(results):
    """The results as a Markdown table: medians (quartiles), ratio to Keras, size."""
    rows = ["| | one image, ms | ratio | size |", "| --- | --- | --- | --- |"]
    reference = np.median(results[KERAS]["milliseconds"])
    for name, result in results.items():
        low, median, high = np.percentile(result["milliseconds"], [25, 50, 75])
        rows.append(
            f"| {name} | {median:.3g} ({low:.3g}–{high:.3g}) | {median / reference:.2f} "
            f"| {result['megabytes']:.0f} MB |"
        )
    return "\n".join(rows)
