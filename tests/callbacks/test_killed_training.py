import os
import pathlib
import re

import numpy as np
import pytest

import cin_keras
from tests import processes

ROOT = pathlib.Path(__file__).parents[2]
SEED, KILLS = 3, 10


# Bit for bit is promised on TensorFlow; the others are resumed in test_training_state.
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_run_that_is_killed_ten_times_ends_as_one_that_is_not(tmp_path):
    command = ["-m", "tests.callbacks.killed_training", tmp_path, SEED, KILLS]
    result = processes.run(*command, cwd=ROOT, env={**os.environ, "KERAS_BACKEND": "tensorflow"})
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(re.search(r"(\d+) processes killed", result.stdout)[1]) >= KILLS

    whole = tmp_path / "whole"
    expected = np.load(whole / "end.npz")
    kept = cin_keras.load_model(whole / "model.keras")
    runs = [folder for folder in tmp_path.iterdir() if folder.name.startswith("killed")]
    assert runs
    for folder in runs:
        found = np.load(folder / "end.npz")
        assert found.files == expected.files and len(found.files) > 20
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name], strict=True)
        model = cin_keras.load_model(folder / "model.keras")
        for a, b in zip(model.get_weights(), kept.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert (folder / "history.csv").read_text() == (whole / "history.csv").read_text()
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            path.name for path in whole.iterdir()
        )
