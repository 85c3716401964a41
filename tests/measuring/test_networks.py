"""The network of a recipe that measures."""

import pytest

from cin_keras.measuring.networks import build_network, freeze_to
from tests.models.networks import tiny_backbone


def test_layers_are_frozen_up_to_one():
    network = tiny_backbone(size=32)
    freeze_to(network, None)
    assert all(layer.trainable for layer in network.layers)
    freeze_to(network, network.layers[1].name)
    assert [layer.trainable for layer in network.layers[:3]] == [False, False, True]
    with pytest.raises(ValueError, match="no layer 'slip' in the backbone: "):
        freeze_to(network, "slip")


def test_a_row_as_the_command_line_names_it():
    model = build_network("NTS+CIN", 3, "small", "none", 32, "block_3")
    assert (model.interaction_name, model.contrast_name, model.parts) == ("sci", "cci", 6)
    assert type(model).__name__ == "NTS" and model.input_shape == (None, 32, 32, 3)
    assert all(layer.trainable for layer in model.backbone.layers)


def test_only_what_comes_before_the_named_layer_is_frozen():
    model = build_network("plain", 3, "small", "none", 32, None, "block_2")
    trained = {weight.path for weight in model.backbone.trainable_weights}
    frozen = [weight.path for weight in model.backbone.weights if weight.path not in trained]
    assert len([path for path in frozen if path.endswith("kernel")]) == 2
    assert len(model.backbone.layers) > 10
