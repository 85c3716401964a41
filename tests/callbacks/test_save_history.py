import csv

import numpy as np

from cin_keras.callbacks import SaveHistory


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_an_epoch_is_a_row(tmp_path):
    history = SaveHistory(tmp_path / "history.csv")
    history.on_epoch_end(0, {"loss": 0.1 + 0.2, "val_loss": np.float32(0.5)})
    history.on_epoch_end(1, {"loss": float("nan")})
    assert read(tmp_path / "history.csv") == [
        {"epoch": "0", "loss": "0.30000000000000004", "val_loss": "0.5"},
        {"epoch": "1", "loss": "nan", "val_loss": ""},
    ]
    assert history.history["loss"][0] == 0.1 + 0.2
    np.testing.assert_array_equal(history.history["val_loss"], [0.5, np.nan])
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_a_repeated_epoch_takes_the_place_of_the_first(tmp_path):
    history = SaveHistory(tmp_path / "history.csv")
    for epoch in range(3):
        history.on_epoch_end(epoch, {"loss": float(epoch)})
    history.on_epoch_end(1, {"loss": 9.0})
    assert [row["loss"] for row in read(tmp_path / "history.csv")] == ["0.0", "9.0"]


def test_a_resumed_run_goes_on_after_the_rows_of_its_state(tmp_path):
    first = SaveHistory(tmp_path / "history.csv")
    assert first.get_state() == {"rows": []}
    first.on_epoch_end(0, {"loss": 2.0})
    state = first.get_state(1, {"loss": 1.0})
    assert [row["loss"] for row in state["rows"]] == [2.0, 1.0]
    assert [row["loss"] for row in first.rows] == [2.0], "not before the epoch has ended"
    for epoch in (1, 2):
        first.on_epoch_end(epoch, {"loss": -1.0})
    (tmp_path / "history.0a.partial.csv").write_text("half a file")

    second = SaveHistory(tmp_path / "history.csv")
    second.set_state(state, 1, None)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    assert [row["loss"] for row in read(tmp_path / "history.csv")] == ["2.0", "1.0"]
    second.on_epoch_end(2, {"loss": 0.5})
    assert [row["loss"] for row in read(tmp_path / "history.csv")] == ["2.0", "1.0", "0.5"]
    assert second.history == {"loss": [2.0, 1.0, 0.5]}
