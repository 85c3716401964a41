"""What each benchmark builds and measures; `tests/test_benchmark.py` runs them from a command line."""

import keras
import numpy as np
import pytest

from cin_keras.measuring import benchmarks, costs, serving, systems
from tests.models.networks import tiny_backbone

SIZES = 8, 2, 1, 3, 2, 1, 4  # pixels, images, pairs, classes, rounds, steps, seed


def forms(**kwargs):
    return benchmarks.forms(*SIZES, tiny_backbone(), **kwargs)


def test_forms_are_one_network_with_the_same_weights():
    benchmark = forms(block_rows=2, phi_kernel_size=1)
    models = {name: benchmark.build(name) for name in benchmark.names}
    backbone, contrast, long, shipped, blocks = models.values()
    assert (contrast.interaction_name, contrast.contrast_name) == (None, "embedding")
    assert backbone.interaction_name is None and backbone.contrast_name is None
    for model in (long, shipped, blocks):
        assert (model.interaction_name, model.contrast_name) == ("sci", "cci")
        assert model.interaction.phi.kernel.shape[:2] == (1, 1)
        for own, others in zip(model.weights, shipped.weights):
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (own, others)))
    assert [model.get_config()["pooled"] for model in (long, shipped, blocks)] == [False, True, True]
    assert (shipped.interaction.block_rows, blocks.interaction.block_rows) == (None, 2)


def test_what_is_measured_is_of_every_model(monkeypatch, untraced):
    monkeypatch.setattr(serving, "exported_megabytes", lambda model: 12.0)
    benchmark = forms()
    found, table = benchmark.measure({name: benchmark.build(name) for name in benchmark.names})
    assert list(found) == ["backbone", "contrast", "CIN, long form", "CIN", "CIN, blocks of rows"]
    assert found["CIN"]["training"]["rounds"] == 2 and found["CIN"]["exported_megabytes"] == 12
    assert found["backbone"]["inference"]["ratio"] == 1
    assert "| CIN, blocks of rows |" in table and "CIN against the long form" in table


def test_every_size_goes_where_it_belongs(monkeypatch):
    asked = {}
    monkeypatch.setattr(costs, "random_batches", lambda *how: asked.update(batches=how))
    monkeypatch.setattr(costs, "time_both", lambda *how: asked.update(time=how[2:]) or {"a": {}})
    monkeypatch.setattr(systems, "systems_table", lambda *how: how[1:])
    monkeypatch.setattr(benchmarks, "check_peers", lambda: None)
    of_forms = benchmarks.forms(64, 8, 4, 5, 9, 3, 7, "resnet50", feature_layer="conv1_relu")
    assert of_forms.title == "resnet50, 64×64, 8 images in inference, 4 pairs in training"
    benchmarks.peers(of_forms, 64, 8, 4, 5, 9, 3, 7).measure({})
    assert asked == {"batches": (64, 8, 4, 5, 7), "time": (9, 3, "backbone")}
    monkeypatch.setattr(systems, "time_systems", lambda *how, train: (*how, train))
    found, table = benchmarks.paper_systems(64, 4, 5, 9, 3, 7, train=True).measure({})
    assert found == ({}, 64, 4, 5, 9, 3, 7, True) and table[1] == "ResNet-50"
    assert table[0]["NTS"] == 23.6 and list(table[0]) == list(systems.SYSTEMS)


def test_what_is_served_is_the_form_as_shipped():
    benchmark = benchmarks.exported(forms(phi_kernel_size=1), 8, 2, 4, "tiny")
    assert (benchmark.key, benchmark.title) == ("forms", "tiny, 8×8, one image")
    (name,) = benchmark.names
    model = benchmark.build(name)
    assert model.get_config()["pooled"] and model.interaction.phi.kernel.shape[:2] == (1, 1)


def test_peers_want_pytorch():
    with pytest.raises(ValueError, match="The peers are written in PyTorch"):
        benchmarks.peers(forms(), *SIZES)


def test_systems_are_those_of_the_paper(monkeypatch):
    monkeypatch.setattr(systems, "build_system", lambda *how: how)
    benchmark = benchmarks.paper_systems(448, 4, 200, 9, 1, 7, train=False)
    assert benchmark.names == tuple(systems.SYSTEMS)
    assert benchmark.build("NTS") == ("NTS", 200, 448, 7)
    assert benchmark.title == "the paper's systems, 448×448, batches of 1 and of 8 images"
