import signal

import pytest

from cin_keras.callbacks import InterruptBetweenBatches


@pytest.fixture
def interrupt():
    """One that listens, as `fit` begins."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = InterruptBetweenBatches()
    assert not interrupt.begun
    interrupt.on_train_begin()
    yield interrupt
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_the_batch(interrupt):
    interrupt.on_train_batch_end(0)
    signal.raise_signal(signal.SIGINT)
    assert interrupt.begun and interrupt.pressed and not interrupt.trained
    with pytest.raises(KeyboardInterrupt):
        interrupt.on_train_batch_end(1)
    interrupt.stop_listening()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_gives_back_what_a_broken_fit_has_not(interrupt):
    with pytest.raises(ZeroDivisionError), interrupt:
        interrupt.on_train_begin()  # of a second `fit`
        assert signal.getsignal(signal.SIGINT) == interrupt._note
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_of_two_that_end_in_any_order_neither_keeps_an_interrupt(interrupt):
    other = InterruptBetweenBatches()
    other.on_train_begin()
    interrupt.on_train_end()
    other.on_train_end()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_the_last_moment_is_not_lost(interrupt):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.on_train_end()
    assert interrupt.trained
    interrupt.on_train_begin()
    assert not interrupt.trained and not interrupt.pressed


def test_a_second_interrupt_does_not_wait(interrupt):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_nobody_listens_once_training_has_ended(interrupt):
    interrupt.on_train_end()
    assert interrupt.trained and not interrupt.pressed
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # somebody else's by then
    interrupt.stop_listening()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_where_sigint_is_ignored_it_stays_so(interrupt):
    interrupt.stop_listening()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt.on_train_begin()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    interrupt.on_train_end()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
