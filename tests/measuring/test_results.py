import json

import keras
import pytest

from cin_keras.data import drawn_cars
from cin_keras.data.samples import fingerprint
from cin_keras.measuring.results import BYTES, Results, settings_of

SETTINGS = {"epochs": 3, "image_size": (32, 32)}


def test_what_is_finished_is_not_made_again(tmp_path):
    made = []

    def make(accuracy):
        return lambda: made.append(accuracy) or {"accuracy": accuracy}

    results = Results(tmp_path / "results.jsonl", SETTINGS)
    assert results.once({"row": "a", "seed": 0}, make(0.5)) == {
        "row": "a", "seed": 0, "accuracy": 0.5,
    }  # fmt: skip
    again = Results(tmp_path / "results.jsonl", SETTINGS)
    assert again.once({"row": "a", "seed": 0}, make(0.9))["accuracy"] == 0.5
    assert again.once({"row": "a", "seed": 1}, make(0.7))["accuracy"] == 0.7
    assert made == [0.5, 0.7]
    assert [r["seed"] for r in results.find(row="a")] == [0, 1]
    assert results.find(row="b") == []
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0]) == {
        "settings": {"epochs": 3, "image_size": [32, 32]}
    }


def test_two_processes_may_make_the_same(tmp_path):
    results = [Results(tmp_path / "results.jsonl", SETTINGS) for _ in range(2)]

    def slow():
        results[1].add(row="a", accuracy=0.6)
        return {"accuracy": 0.5}

    assert results[0].once({"row": "a"}, slow)["accuracy"] == 0.5
    assert len(results[0].find(row="a")) == 2


@pytest.mark.parametrize("at", ["settings", "record"])
def test_half_a_line_of_a_killed_process_counts_as_not_there(tmp_path, at):
    path = tmp_path / "results.jsonl"
    if at == "record":
        Results(path, SETTINGS).add(row="a")
    with open(path, "a") as file:
        file.write('{"settings": {"ep')
    results = Results(path, SETTINGS)
    results.add(row="b")
    lines = [line for line in path.read_text().splitlines() if line != '{"settings": {"ep']
    assert [list(json.loads(line)) for line in lines][0] == ["settings"]
    assert [json.loads(line)["row"] for line in lines[1:]] == (["a"] if at == "record" else []) + [
        "b"
    ]
    assert results.find(row="b") == [{"row": "b"}]


@pytest.mark.parametrize("other", [{"epochs": 7, "image_size": [32, 32]}, {"epochs": 3}])
def test_other_settings_in_the_same_file_are_refused(tmp_path, other):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({"settings": other}) + "\n")
    name = "epochs" if other["epochs"] == 7 else "image_size"
    with pytest.raises(ValueError, match=rf"other settings \({name}\).*another --output"):
        Results(path, SETTINGS)
    assert json.loads(path.read_text()) == {"settings": other}


def test_options_that_are_not_set_do_not_count(tmp_path):
    """A file from before there was an option goes on where it is not set, and the other way round."""
    path = tmp_path / "results.jsonl"
    Results(path, {**SETTINGS, "limit": None})
    Results(path, {**SETTINGS, "crops": None, "weight_decay": 0, "unseen": False})
    with pytest.raises(ValueError, match="other settings .crops.*another --output"):
        Results(path, {**SETTINGS, "crops": 5})


def test_photographs_of_other_bytes_are_refused_where_they_are_noted(tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path, SETTINGS)
    Results(path, {**SETTINGS, BYTES: [3]})
    path.unlink()
    Results(path, {**SETTINGS, BYTES: [3]})
    with pytest.raises(ValueError, match="other settings .bytes of the photographs."):
        Results(path, {**SETTINGS, BYTES: [4]})


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"row": "a"}\n')
    with pytest.raises(ValueError, match="no file of results"):
        Results(path, SETTINGS)


def test_settings_are_all_options_that_change_numbers():
    cars = drawn_cars(num_classes=2, images_per_class=1, image_size=32)
    options = {"epochs": 5, "seeds": 3, "crops": None, "unseen": True, "weights": "folder/b.h5"}
    found = settings_of(options, ["seeds"], [cars])
    assert found == {
        "epochs": 5,
        "crops": None,
        "unseen": True,
        "weights": "b.h5",
        "data": [f"{cars} {fingerprint(cars)}"],
        BYTES: [len(cars.encoded[0]) + len(cars.encoded[1])],
        "backend": keras.backend.backend(),
    }
    other = settings_of({**options, "weights": "elsewhere/b.h5", "seeds": 1}, ["seeds"], [cars])
    assert other == found
