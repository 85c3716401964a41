import gc

import pytest

from cin_keras.serving.formats import frequent_collections, write_onnx_metadata
from cin_keras.serving.model_card import card
from tests.models.networks import tiny_cin

onnx = pytest.importorskip("onnx", reason="onnx is not installed")


def test_an_input_that_nothing_reads_is_taken_out(tmp_path):
    def value(name):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])

    node = onnx.helper.make_node("Neg", ["images"], ["outputs"])
    inputs = [value("cin/Squeeze/input:0"), value("images")]
    graph = onnx.helper.make_graph([node], "cin", inputs, [value("outputs")])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    cin = tiny_cin()
    write_onnx_metadata(tmp_path / "model.onnx", cin)
    model = onnx.load(tmp_path / "model.onnx")
    assert [tensor.name for tensor in model.graph.input] == ["images"]
    (entry,) = model.metadata_props
    assert entry.key == "model_card" and entry.value == card(cin)


@pytest.mark.parametrize(
    ("name", "format", "named"),
    [
        ("m.onnx", "tf_saved_model", "onnx"),
        ("m.TFLITE", "onnx", "litert"),
        ("m.onnx", "litert", "onnx"),
    ],
)
def test_an_ending_of_another_format(tmp_path, name, format, named):
    with pytest.raises(ValueError, match=f"is for format='{named}'.*Received: format='{format}'"):
        tiny_cin().export(tmp_path / name, format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["served", "served.lite"])
def test_litert_without_its_ending(tmp_path, name):
    with pytest.raises(ValueError, match=f"must end in .tflite: .*Received: filepath='.*{name}'"):
        tiny_cin().export(tmp_path / name, format="litert")
    assert not list(tmp_path.iterdir())


def test_the_collector_is_as_before_afterwards():
    gc.unfreeze()  # what tests/conftest.py has frozen
    before = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(KeyError), frequent_collections():
        assert gc.get_threshold() < before[0] and gc.get_freeze_count() > 0
        raise KeyError
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
