import signal

import pytest
import tensorflow as tf

from cin_keras.data.decoding import UnreadableImage
from cin_keras.training import open_run
from cin_keras.training import run as training_run
from cin_keras.training.run import on_devices


class Ended(BaseException):
    """In place of the end of the process."""


def end(*how):
    raise Ended(*how)


@pytest.mark.parametrize("error", [ValueError("Three is none."), OSError("Three is none.")])
def test_a_mistake_ends_a_run_in_one_sentence(tmp_path, error):
    with pytest.raises(SystemExit, match="^error: Three is none.$"):
        with open_run(tmp_path / "run", {}):
            raise error
    assert not (tmp_path / "run").exists()


def test_once_training_has_begun_such_an_error_is_a_defect(tmp_path):
    # Not as in the background, where a shell lets its processes ignore it.
    before = signal.default_int_handler
    signal.signal(signal.SIGINT, before)
    with pytest.raises(ValueError, match="Three is none."):
        with open_run(tmp_path, {}) as run:
            run.watch.on_train_begin()
            assert run.watch.begun and signal.getsignal(signal.SIGINT) != before
            raise ValueError("Three is none.")
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("", "Interrupted."),
        ("begun", "Interrupted before the first epoch ended: there is no model to keep."),
        ("begun saved", "The best model so far, of epoch 3 with 50.0% on validation images, is "),
        ("begun saved trained", "model.keras. What follows training is not done: --resume goes on there."),
        ("begun saved trained evaluated", "model.keras."),
    ],
)
def test_what_ctrl_c_says(tmp_path, monkeypatch, when, message):
    monkeypatch.setattr(training_run, "stop", end)
    with pytest.raises(Ended) as ended, open_run(tmp_path, {}) as run:
        run.watch.begun = "begun" in when
        run.watch.trained = "trained" in when
        run.metrics = {"accuracy": 0.5} if "evaluated" in when else None
        if "saved" in when:
            run.keep_best.best, run.keep_best.best_epoch = 0.5, 2
        raise KeyboardInterrupt
    sentence, status = ended.value.args
    assert message in sentence and status == (1 if when == "begun" else 130)
    assert sentence.endswith("model.keras.") == ("evaluated" in when)


LOST = "Gloo AllReduce failed: Connection closed by peer"


@pytest.mark.parametrize(
    ("processes", "pressed", "error", "told"),
    [
        (2, True, LOST, "Interrupted. The best model so far, of epoch 3"),  # here, too
        (2, False, LOST, "Another process of this run .* The same command with --resume, on all"),
        (2, True, "shapes differ", None),
        (1, True, LOST, None),
    ],
)
def test_where_one_of_several_processes_is_gone_the_others_end_in_a_sentence(
    tmp_path, monkeypatch, processes, pressed, error, told
):
    monkeypatch.setattr(training_run, "stop", end)
    with pytest.raises(Ended if told else RuntimeError, match=told or error):
        with open_run(tmp_path, {}) as run:
            run.devices.processes = processes
            run.watch.begun, run.watch.pressed = True, pressed
            run.keep_best.best, run.keep_best.best_epoch = 0.5, 2
            raise RuntimeError(error)


@pytest.mark.parametrize("begun", [False, True])
def test_a_bad_photograph_is_told_how_to_go_on_without(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(training_run, "stop", end)
    error = tf.errors.UnknownError(
        None, None, "UnreadableImage: Cannot decode 'a.jpg'. Replace it."
    )
    mistake = UnreadableImage("a.jpg", "it is text")
    with pytest.raises((Ended, SystemExit)) as ended:
        with open_run(tmp_path, {"on_error": "raise"}) as run:
            run.watch.begun = begun
            raise error if begun else mistake
    sentence = ended.value.args[0]
    assert "Cannot decode 'a.jpg'" in sentence and sentence.endswith("--on-error skip.")


def test_what_somebody_typed_is_not_blamed_on_the_recipe(tmp_path):
    received = "Received: classes_per_batch=9"
    with pytest.raises(SystemExit, match="--classes-per-batch=9$"):
        with open_run(tmp_path, {"recipe": "paper", "classes_per_batch": 9}):
            raise ValueError(f"`classes_per_batch` must be an int from 2 to 3. {received}")


def test_what_the_recipe_of_the_paper_asks_for_is_said_to_be_so(tmp_path):
    asked = {"recipe": "paper", "classes_per_batch": 4}
    with pytest.raises(
        SystemExit, match="--classes-per-batch=4, which is of --recipe paper: give an"
    ):
        with open_run(tmp_path, asked):
            raise ValueError(
                "`classes_per_batch` must be an int from 2 to 3. Received: classes_per_batch=4"
            )


@pytest.mark.parametrize("several", [False, True])
def test_one_device_is_its_own_chief(capsys, several):
    with on_devices(several) as devices:
        assert (devices.count, devices.is_chief, devices.shard) == (1, True, None)
        print("heard")
    out = capsys.readouterr().out
    assert out.endswith("heard\n") and out.startswith("Devices(") == several


def test_a_mistake_is_one_sentence(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(SystemExit, match="error: Over several hosts, use JAX, or PyTorch"):
        with on_devices(True):
            pass
