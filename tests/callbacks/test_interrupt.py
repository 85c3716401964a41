import signal

import pytest

from cin_keras.callbacks import InterruptBetweenBatches


def test_an_interrupt_waits_for_the_end_of_the_batch():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), InterruptBetweenBatches() as interrupt:
            interrupt.on_train_batch_end(0)
            signal.raise_signal(signal.SIGINT)
            reached = True
            interrupt.on_train_batch_end(1)
            reached = False
        assert reached
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt), InterruptBetweenBatches():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
