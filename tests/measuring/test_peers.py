import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.measuring.peers import LongForm
from tests.models.networks import normalized_backbone, pair_batch, tiny_cin

on_torch = pytest.mark.skipif(keras.backend.backend() != "torch", reason="a peer in PyTorch")


@on_torch
@pytest.mark.every_backend
def test_the_long_form_in_plain_pytorch_has_our_numbers():
    model = tiny_cin(backbone=normalized_backbone())
    model.compile("sgd", loss=cin_keras.losses.SoftmaxCrossentropy())
    peer = LongForm(model)
    x, y = (tuple(map(keras.ops.convert_to_tensor, part)) for part in pair_batch())
    expected = model.predict_on_batch(x[0])
    np.testing.assert_allclose(peer.predict_on_batch(x[0]), expected, atol=1e-4)
    peer_loss = peer.loss(x, y).item()
    loss = model.train_on_batch(x, y, return_dict=True)["loss"]
    assert peer_loss == pytest.approx(float(loss), abs=1e-4)
    before = peer.classifier[0].detach().clone()
    assert np.isfinite(peer.train_on_batch(x, y)["loss"])
    assert not np.allclose(before, peer.classifier[0].detach())


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="where it is no peer")
def test_elsewhere_a_sentence_says_where_it_is():
    with pytest.raises(ValueError, match="use KERAS_BACKEND=torch. Received: the backend"):
        LongForm(None)
