"""That the training loop does nothing twice and waits for nothing."""

import contextlib
import threading

import keras
import numpy as np
import pytest

import cin_keras
from cin_keras.callbacks import InterruptBetweenBatches
from tests.models.networks import pair_batch, plain_pairs_cin, tiny_cin

pytestmark = pytest.mark.every_backend
BACKEND = keras.backend.backend()


@contextlib.contextmanager
def counted_compilations():
    """A list that grows by one with every trace (TensorFlow, JAX) and compilation (JAX)."""
    events = []
    call = cin_keras.CIN.call

    def counting_call(self, *args, **kwargs):
        events.append("call")
        return call(self, *args, **kwargs)

    cin_keras.CIN.call = counting_call
    try:
        if BACKEND == "jax":
            import jax

            def listen(event, duration, **kwargs):
                if "backend_compile" in event:
                    events.append(event)

            jax.monitoring.register_event_duration_secs_listener(listen)
        yield events
    finally:
        cin_keras.CIN.call = call
        if BACKEND == "jax":
            jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras compiles nothing on PyTorch")
def test_after_the_first_round_nothing_is_traced_or_compiled_again():
    images, labels = pair_batch(pairs=10)
    singles, answers = images[0][:7], labels[0][:7]
    model = tiny_cin()

    def one_round():
        # Batches of 4, 4 and 2 pairs, then of 4 and 3 images.
        model.fit(
            images,
            labels,
            batch_size=4,
            epochs=2,
            validation_data=(singles, answers),
            validation_batch_size=4,
            verbose=0,
        )
        model.evaluate(singles, answers, batch_size=4, verbose=0)
        model.predict(singles, batch_size=4, verbose=0)

    with counted_compilations() as events:
        one_round()
        assert "call" in events
        if BACKEND == "jax":
            assert set(events) != {"call"}, "compilations are seen"
        first = len(events)
        for _ in range(3):
            one_round()
        assert len(events) == first, events[first:]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow traces anew what makes variables")
@pytest.mark.parametrize("compiled", [{}, {"metrics": [cin_keras.metrics.accuracy]}])
def test_the_first_step_is_traced_once(compiled):
    model, (images, labels) = plain_pairs_cin(), pair_batch()
    if compiled:
        model.compile("sgd", cin_keras.losses.SoftmaxCrossentropy(), **compiled)
    with counted_compilations() as events:
        first = model.fit(images, labels, verbose=0).history
        assert "accuracy" in first and events == ["call"]


@contextlib.contextmanager
def counted_host_reads():
    """A list that grows by one whenever the main thread waits for a tensor's numbers."""
    reads = []

    def counting(function, of=object):
        def wrapper(*args, **kwargs):
            in_main = threading.current_thread() is threading.main_thread()
            if in_main and isinstance(args[0], of):
                reads.append(function)
            return function(*args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        if BACKEND == "torch":
            import torch

            for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__"):
                patch.setattr(torch.Tensor, name, counting(getattr(torch.Tensor, name)))
        else:
            import jax

            array = type(jax.numpy.zeros(()))
            for name in ("__array__", "item", "tolist", "__bool__", "__int__", "__float__"):
                patch.setattr(array, name, counting(getattr(array, name)))
            # JAX hands NumPy its buffer without a call to watch.
            for name in ("array", "asarray"):
                patch.setattr(np, name, counting(getattr(np, name), of=array))
        yield reads


class ReadsEveryBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])


@pytest.mark.skipif(
    BACKEND == "tensorflow", reason="on TensorFlow, Keras' own callbacks read the logs every batch"
)
def test_training_waits_for_no_batch():
    images, labels = pair_batch(pairs=24)
    model = tiny_cin()
    model.fit(images, labels, batch_size=4, verbose=0)
    counts = {}
    for batches in (2, 6):
        part = [tuple(side[: 4 * batches] for side in pair) for pair in (images, labels)]
        with counted_host_reads() as reads:
            model.fit(*part, batch_size=4, verbose=0, callbacks=[InterruptBetweenBatches()])
        counts[batches] = len(reads)
    assert counts[2] == counts[6] > 0, counts
    with counted_host_reads() as reads:
        model.fit(*part, batch_size=4, verbose=0, callbacks=[ReadsEveryBatch()])
    assert len(reads) >= counts[6] + 6, "the count would see a callback that waits"
