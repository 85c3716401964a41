import logging

import pytest
import tensorflow as tf

from cin_keras.measuring.rounds import by_turns, many_models_are_traced, seconds, spread, summarize


def test_every_variant_has_its_turn_in_every_round(capsys):
    calls = []

    def variant(name):
        return lambda number: calls.append((name, number)) or 10 * number

    found = by_turns({name: variant(name) for name in "ab"}, rounds=3, warm_up=2)
    assert calls == [*[("a", 0)] * 2, *[("b", 0)] * 2, *[(n, i) for i in range(3) for n in "ab"]]
    assert found == {"a": [0, 10, 20], "b": [0, 10, 20]}
    assert "3/3" in capsys.readouterr().err


def interrupted(number, at):
    if number == at:
        raise KeyboardInterrupt
    return number


def test_an_interruption_keeps_the_rounds_that_were_finished(capsys):
    variants = {"a": lambda number: -number, "b": lambda number: interrupted(number, at=2)}
    assert by_turns(variants, rounds=5) == {"a": [0, -1], "b": [0, 1]}
    assert "Interrupted: the figures are those of 2 rounds" in capsys.readouterr().out


@pytest.mark.parametrize("warm_up", [0, 1])
def test_an_interruption_before_the_first_round_ended_leaves_nothing(warm_up):
    with pytest.raises(SystemExit, match="nothing to report"):
        by_turns({"a": lambda number: interrupted(number, at=0)}, rounds=5, warm_up=warm_up)


def test_seconds_are_of_one_call():
    calls = []
    assert 0 < seconds(calls.append, 1, times=4) < 1
    assert calls == [1] * 4


def test_medians_and_quartiles():
    assert spread([10, 1, 2, 3, 4]) == {"median": 3, "quartiles": [2, 4], "rounds": 5}
    found = {"a": [{"speed": 0, "work": 5}, {"speed": 1, "work": 7}]}
    assert summarize(found) == {
        "a": {
            "speed": {"median": 0.5, "quartiles": [0.25, 0.75], "rounds": 2},
            "work": {"median": 6, "quartiles": [5.5, 6.5], "rounds": 2},
        }
    }


def test_five_models_are_no_five_traces_of_one():
    """TensorFlow's warning comes for as many functions made by one line, and is back afterwards."""
    heard = []
    handler = logging.Handler()
    handler.emit = heard.append
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)

    def trace_many(add):
        for _ in range(8):
            tf.function(add)(tf.constant(1))

    try:
        with many_models_are_traced():
            trace_many(lambda x: x + 1)
            logger.warning("something else")
        assert [record.msg for record in heard] == ["something else"]
        trace_many(lambda x: x + 2)
        assert "retracing" in heard[-1].msg
    finally:
        logger.removeHandler(handler)
