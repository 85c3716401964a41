import os

import pytest

from cin_keras.cli import main, without_notes


def test_only_notes_are_dropped(capfd):
    with without_notes():
        os.write(2, b"I0000 00:00:1795619603.809729   20436 port.cc:153] oneDNN is on.\n")
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\n")
        os.write(2, b"2026-11-25 15:00:00 I know\n")
    os.write(2, b"I0000 00:00:1 after\n")
    assert capfd.readouterr().err == "2026-11-25 15:00:00 I know\nI0000 00:00:1 after\n"


def test_what_was_written_is_shown_when_loading_fails(capfd):
    with pytest.raises(ImportError), without_notes():
        os.write(2, b"cannot open shared object file\n")
        raise ImportError
    assert capfd.readouterr().err == "cannot open shared object file\n"


def test_a_backend_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", "nonsense")
    assert main(["info", "model.keras"]) == 2
    err = capsys.readouterr().err
    assert err == (
        "error: KERAS_BACKEND=nonsense, and there is no such package: install it, or use "
        "tensorflow, jax or torch.\n"
    )
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert main(["info", "nowhere.keras"]) == 2
    assert "KERAS_BACKEND" not in capsys.readouterr().err
