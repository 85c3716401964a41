"""The ablation recipe, in a minute on networks too small to say anything about accuracy."""

import csv
import json
import pathlib

import pytest
from PIL import Image

from tests.recipe_runs import run_here

# What the rows train on each backend is tested in tests/models/test_interactions.py.
pytestmark = pytest.mark.one_backend

RECIPE = pathlib.Path(__file__).parent.parent / "recipes" / "ablation.py"
TINY = ["--image-size", "32", "--limit", "36", "--pairs-per-batch", "6", "--epochs", "1"]


def run(*arguments, folder):
    return run_here(RECIPE, *TINY, *arguments, folder=folder)


def records(folder):
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert "settings" in json.loads(lines[0])
    return [json.loads(line) for line in lines[1:]]


def test_rows_are_trained_once_and_the_table_grows(tmp_path):
    rates = ["--learning-rates", "0.001", "0.004"]
    code, output = run(*rates, "--rows", "plain", "--seeds", "1", folder=tmp_path)
    assert code == 0, output[-3000:]
    folder = tmp_path / "runs" / "ablation"
    first = records(folder)
    assert [record["kind"] for record in first] == ["trial", "trial", "run"]
    best = max(first[:2], key=lambda record: record["accuracy"])
    assert first[2]["learning_rate"] == best["learning_rate"]

    code, output = run(*rates, "--rows", "CIN", "plain", "--seeds", "2", folder=tmp_path)
    assert code == 0, output[-3000:]
    second = records(folder)
    assert second[:3] == first
    runs = [(r["row"], r["seed"]) for r in second[3:] if r["kind"] == "run"]
    assert runs == [("CIN", 0), ("CIN", 1), ("plain", 1)]
    assert [r["row"] for r in second[3:] if r["kind"] == "trial"] == ["CIN", "CIN"]

    with open(folder / "ablation.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["row"] for row in table] == ["CIN", "plain"]
    for row in table:
        own = [r["accuracy"] for r in second if r["kind"] == "run" and r["row"] == row["row"]]
        mean = sum(own) / 2
        spread = (sum((accuracy - mean) ** 2 for accuracy in own) / 1) ** 0.5
        assert float(row["accuracy"]) == pytest.approx(mean)
        assert float(row["spread"]) == pytest.approx(spread)
        assert float(row["milliseconds"]) > 0
        line = f"| {row['row']} | {mean:.1%} ± {100 * spread:.1f} |"
        assert line in (folder / "ablation.md").read_text() and line in output
    # The embedding and ψ are not part of what is served.
    assert int(table[0]["parameters"]) - int(table[1]["parameters"]) == 9 * 256**2 + 256
    assert min(Image.open(folder / "ablation.png").size) > 200


def test_half_a_line_of_a_killed_process_costs_one_run(tmp_path):
    arguments = ["--rows", "plain", "--seeds", "1"]
    folder = tmp_path / "runs" / "ablation"
    folder.mkdir(parents=True)
    (folder / "results.jsonl").touch()
    code, output = run(*arguments, folder=tmp_path)
    assert code == 0, output[-3000:]
    (whole,) = records(folder)
    with open(folder / "results.jsonl", "a") as file:
        file.write(json.dumps({**whole, "seed": 1})[:40])
    code, output = run("--rows", "plain", "--seeds", "2", folder=tmp_path)
    assert code == 0, output[-3000:]
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == whole and json.loads(lines[3])["seed"] == 1
    assert len(lines) == 4


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    (tmp_path / "runs" / "ablation").mkdir(parents=True)
    settings = {"epochs": 7}
    path = tmp_path / "runs" / "ablation" / "results.jsonl"
    path.write_text(json.dumps({"settings": settings}) + "\n")
    code, output = run("--rows", "plain", folder=tmp_path)
    assert code == 1 and "other settings" in output and "epochs" in output
    assert json.loads(path.read_text()) == {"settings": settings}


def test_mistakes_are_named_before_training(tmp_path):
    code, output = run("--rows", "plain", "--freeze-to", "conv_9", folder=tmp_path)
    assert code == 1 and "conv_9" in output
    code, output = run("--data-dir", "nowhere", folder=tmp_path)
    assert code == 1 and "nowhere" in output
    code, output = run("--rows", "CNN", folder=tmp_path)
    assert code == 2 and "invalid choice: 'CNN'" in output
