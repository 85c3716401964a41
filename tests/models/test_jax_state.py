"""That an interruption between two steps costs no weights, which JAX takes away for them."""

import keras
import numpy as np
import pytest

from tests.models.networks import awake, pair_batch, tiny_cin

pytestmark = pytest.mark.every_backend


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others leave variables where they are")
@pytest.mark.parametrize("method", ["evaluate", "predict", "predict of the folded network"])
def test_an_interruption_between_two_steps_costs_no_weights(monkeypatch, method):
    (images, _), (labels, _) = pair_batch()
    model = awake(tiny_cin())
    before = model.get_weights()

    def interrupt(callbacks, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt

    for name in ("on_test_batch_begin", "on_predict_batch_begin"):
        monkeypatch.setattr(keras.callbacks.CallbackList, name, interrupt)
    data = (images, labels) if method == "evaluate" else (images,)
    callbacks = [] if method.endswith("network") else [keras.callbacks.Callback()]
    with pytest.raises(KeyboardInterrupt):
        getattr(model, method.split()[0])(*data, batch_size=2, verbose=0, callbacks=callbacks)
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
