"""The benchmark of the data pipelines, on sizes too small to say anything about speed."""

import json
import pathlib
import re

import numpy as np
import pytest

from cin_keras.measuring import feeding
from tests.data.small_sets import encode
from tests.recipe_runs import load_recipe, written

SMALL_INDEX = ["--images", "600", "--classes", "30", "--pairs-per-batch", "4", "--rounds", "2"]
SAMPLERS = ["equal classes", "long tail", "long tail, by class"]
SAMPLER_COLUMNS = ["build, s", "pairs/s", "pairs/s through tf.data", "bytes/image, held", "at most"]
FEEDING = [
    "bare loop: decode and resize",
    "tf.data: decode_jpeg, antialiased",
    "image_dataset",
    "pair_dataset",
    "pair_dataset, cache in memory",
    "pair_dataset, cache on disk",
]
FEEDING_COLUMNS = ["images/s", "ratio to the bare loop", "CPU, ms/image"]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_recipe("benchmark_data")


def test_one_command_measures_sampler_and_feeding(recipe, tmp_path, capsys, untraced):
    small = ["--files", "19", "--width", "40", "--height", "30", "--image-size", "16"]
    recipe.main([*SMALL_INDEX, *small, "--threads", "1"])
    output = capsys.readouterr().out
    folder = tmp_path / "runs" / "benchmark_data"
    assert written(folder) == {"benchmark_data.json"}
    results = json.loads((folder / "benchmark_data.json").read_text())
    assert list(results["sampler"]) == [x for n in SAMPLERS for x in (n, f"{n}, 4 a batch")]
    assert list(results["feeding"]) == FEEDING
    for table, expected in (("sampler", SAMPLER_COLUMNS), ("feeding", FEEDING_COLUMNS)):
        for name, columns in results[table].items():
            assert f"| {name} |" in output and list(columns) == expected
            for column, numbers in columns.items():
                low, high = numbers["quartiles"]
                assert 0 < low <= numbers["median"] <= high, (name, column)
                assert numbers["rounds"] == 2
    bare = results["feeding"]["bare loop: decode and resize"]
    assert bare["ratio to the bare loop"] == {"median": 1, "quartiles": [1, 1], "rounds": 2}
    for sampler in results["sampler"].values():
        assert sampler["bytes/image, held"]["median"] < sampler["at most"]["median"]
    # The text of a path, what Python adds to it, and its place in the list.
    assert 60 < results["bytes_a_path"] < 200
    assert results["settings"]["threads"] == 1
    assert results["backend"] == "tensorflow"


def test_shards_are_measured(recipe, tmp_path, capsys):
    small = ["--shards", "90", "--classes", "3", "--image-size", "16", "--batches", "4"]
    recipe.main([*small, "--pairs-per-batch", "4"])
    folder = tmp_path / "runs" / "benchmark_data"
    results = json.loads((folder / "benchmark_shards.json").read_text())["shards"]
    assert min(results.values()) > 0 and results["memory after, MB"] >= results["memory, MB"]
    output = capsys.readouterr().out
    assert "90 photographs of 16×16 pixels in shards" in output
    assert all(f"{name}: " in output for name in results)


def test_own_photographs_are_read(tmp_path):
    for i in range(8):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f"{i}.jpg").write_bytes(encode(np.full((9, 12, 3), i), "JPEG"))
    samples = feeding.photographs(None, str(tmp_path), 8, None, pairs_per_batch=4)
    assert [pathlib.Path(path).name for path in samples.paths] == [f"{i}.jpg" for i in range(8)]
    assert samples.read(0).size == (12, 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: invalid positive int value: '0'"),
        (["--images", "5", "--classes", "2"], "error: One batch of 10 pairs needs 20 images"),
        ([*SMALL_INDEX, "--data-dir", "."], "error: A batch takes 8 photographs.*with 0 files"),
        ([*SMALL_INDEX, "--files", "3"], "error: A batch takes 8 photographs.*--files 3"),
        ([*SMALL_INDEX, "--output", "file/below"], "error: .*(Not a directory|File exists)"),
    ],
)
def test_mistakes_end_in_one_sentence(recipe, tmp_path, capsys, arguments, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as end:
        recipe.main(arguments)
    assert re.search(message, f"{end.value.code} {capsys.readouterr().err}")
