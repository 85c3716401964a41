import importlib.util

import keras
import pytest

from cin_keras.measuring import serving
from cin_keras.serving.folding import folded_inference
from tests.models.networks import tiny_cin


@pytest.mark.every_backend(on_jax=False)
def test_what_serving_takes(decoder_once):
    model = tiny_cin(size=16)
    results = serving.measure_serving(model, rounds=2, seed=0)
    backend = keras.backend.backend()
    expected = [serving.KERAS]
    expected += [serving.TENSORS, serving.BYTES, serving.SCORES] if backend != "torch" else []
    converter = {"tensorflow": "tf2onnx", "torch": "onnxscript", "jax": "none"}[backend]
    if all(map(importlib.util.find_spec, ("onnxruntime", converter))):
        expected.append(serving.ONNX)
    expected += [serving.LITERT] if backend == "tensorflow" else []
    assert list(results) == expected
    table = serving.serving_table(results).splitlines()
    assert len(table) == 2 + len(expected)
    for name, result in results.items():
        assert len(result["milliseconds"]) == 2 and min(result["milliseconds"]) > 0
        assert 0 < result["megabytes"] < 2
        assert (
            result["difference"] is None if name == serving.BYTES else result["difference"] < 1e-4
        )
        assert any(row.startswith(f"| {name} |") for row in table)
    assert results[serving.KERAS]["difference"] == 0


@pytest.mark.every_backend(on_jax=False)
def test_what_is_exported_holds_every_weight_of_inference_once(decoder_once):
    model = tiny_cin(
        backbone=keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(400, 1)])
    )
    on_torch = keras.backend.backend() == "torch"
    written = keras.Model(model.input, model.output) if on_torch else folded_inference(model)
    weights = 4e-6 * written.count_params()
    assert weights < serving.exported_megabytes(model) < weights + 2
