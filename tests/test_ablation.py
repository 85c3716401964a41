"""The ablation recipe, on networks too small to say anything about accuracy."""

import csv
import functools
import json
import re

import pytest
from PIL import Image

from cin_keras.data import drawn_cars
from cin_keras.measuring import accuracies, comparison, costs, networks, splits
from cin_keras.measuring.frozen_part import FrozenPart
from tests.models.networks import shorten_mobilenet, tiny_backbone
from tests.recipe_runs import load_recipe

# What the rows train on each backend is tested in tests/models/test_interactions.py.
TINY = ["--image-size", "32", "--limit", "36", "--pairs-per-batch", "6", "--epochs", "1"]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_recipe("ablation")


@pytest.fixture
def few_drawings(monkeypatch):
    """Four drawings of each class: to draw them all takes longer than to train on them."""
    few = functools.partial(drawn_cars, images_per_class=4)
    monkeypatch.setattr(splits, "drawn_cars", few)


def records(folder):
    lines = (folder / "results.jsonl").read_text().splitlines()
    assert "settings" in json.loads(lines[0])
    return [json.loads(line) for line in lines[1:]]


@pytest.mark.filterwarnings("ignore:Even though:UserWarning")
def test_from_drawings_to_table_file_and_picture(recipe, tmp_path, few_drawings, capsys, untraced):
    recipe.main([*TINY, "--rows", "CIN", "--seeds", "1"])
    folder = tmp_path / "runs" / "ablation"
    (run,) = records(folder)
    assert (run["kind"], run["row"], run["seed"]) == ("run", "CIN", 0)
    assert 0 <= run["accuracy"] <= run["top_5_accuracy"] <= 1 and run["seconds"] > 0
    with open(folder / "ablation.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["accuracy"]) == run["accuracy"] and float(row["milliseconds"]) > 0
    line = f"| CIN | {run['accuracy']:.1%} | {run['top_5_accuracy']:.1%} | {run['ece']:.3f} | 1 | 0.002 |"
    assert line in (folder / "ablation.md").read_text() and line in capsys.readouterr().out
    # The embedding and ψ are not part of what is served.
    assert int(row["parameters"]) < 1.2e6
    assert min(Image.open(folder / "ablation.png").size) > 200


@pytest.fixture
def untrained(recipe, few_drawings, monkeypatch, undrawn):
    """The recipe without its training: every call is noted, and scores depend on rate and seed."""
    calls = []
    monkeypatch.setattr(networks, "small_backbone", lambda size: tiny_backbone(size=size))

    def train(row, samples, learning_rate, epochs, seed, reader, *budget):
        calls.append((row, len(samples), learning_rate, epochs, seed))
        return 100 * learning_rate + seed / 10

    def score(accuracy, samples, reader, known, unseen):
        assert unseen is None
        return {"accuracy": accuracy, "top_5_accuracy": 0.75}

    def inference_costs(models, image_size):
        return {name: {"milliseconds": 1.5, "parameters": 1_200_000} for name in models}

    monkeypatch.setattr(comparison, "train_row", train)
    monkeypatch.setattr(accuracies, "score_model", score)
    monkeypatch.setattr(costs, "inference_costs", inference_costs)
    return recipe, calls


def test_rows_are_trained_once_and_the_table_grows(untrained, tmp_path, capsys):
    recipe, calls = untrained
    options = [*TINY, "--trial-epochs", "2", "--learning-rates", "0.001", "0.004", "0.002"]
    folder = tmp_path / "runs" / "ablation"
    recipe.main([*options, "--rows", "plain", "--seeds", "1"])
    assert calls == [("plain", 18, rate, 2, 0) for rate in (0.001, 0.004, 0.002)] + [
        ("plain", 36, 0.004, 1, 0)
    ], "trials on a part of the images, then a run at the best rate on all"
    first = records(folder)
    assert [record["kind"] for record in first] == ["trial", "trial", "trial", "run"]
    assert [record["learning_rate"] for record in first] == [0.001, 0.004, 0.002, 0.004]

    calls.clear()
    recipe.main([*options, "--rows", "CIN", "plain", "--seeds", "2"])
    assert [(row, seed) for row, _, _, epochs, seed in calls if epochs == 1] == [
        ("CIN", 0), ("CIN", 1), ("plain", 1),
    ]  # fmt: skip
    assert [row for row, _, _, epochs, _ in calls if epochs == 2] == ["CIN"] * 3
    assert records(folder)[:4] == first and len(records(folder)) == 10
    table = (folder / "ablation.md").read_text()
    assert table.splitlines()[2:] == [
        f"| {row} | 45.0% ± 7.1 | 75.0% | 2 | 0.004 | 1.5 | 1.2 M |" for row in ("CIN", "plain")
    ]
    assert table in capsys.readouterr().out


def test_a_table_at_some_rate_has_rows_with_a_divisor_of_it(untrained, monkeypatch, capsys):
    recipe, _ = untrained
    monkeypatch.setattr(recipe, "build_network", lambda *_: None)
    options = [*TINY, "--backbone", "mobilenet", "--rows", "plain", "bilinear", "--seeds", "1"]
    recipe.main([*options, "--learning-rates", "0.02"])
    capsys.readouterr()
    recipe.main([*options, "--learning-rates", "0.02", "--table"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line[:2] == "| "]
    assert {row[0]: row[4] for row in rows[2:]} == {"| plain": "0.02", "| bilinear": "0.001"}


def test_a_table_of_what_is_finished_trains_nothing(untrained, tmp_path, monkeypatch, capsys):
    recipe, calls = untrained
    folder = tmp_path / "runs" / "ablation"
    with pytest.raises(SystemExit, match="error: --table is of the runs in .* no results.jsonl"):
        recipe.main([*TINY, "--table"])
    recipe.main([*TINY, "--learning-rates", "0.001", "--rows", "CIN", "SE", "--seeds", "1"])
    recipe.main([*TINY, "--learning-rates", "0.003", "--rows", "SE", "--seeds", "2"])
    calls.clear()
    before = records(folder)
    timed = []
    monkeypatch.setattr(
        costs, "inference_costs", lambda models, image_size: timed.append(list(models)) or dict.fromkeys(
            models, {"milliseconds": 2.5, "parameters": 1_200_000}
        )
    )  # fmt: skip
    recipe.main([*TINY, "--table"])
    assert calls == [] and records(folder) == before and timed == [["SE", "CIN"]], "the best first"
    assert (folder / "ablation.md").read_text().splitlines()[2:] == [
        "| SE | 35.0% ± 7.1 | 75.0% | 2 | 0.003 | 2.5 | 1.2 M |",
        "| CIN | 10.0% | 75.0% | 1 | 0.001 | 2.5 | 1.2 M |",
    ]
    for other in (["--rows", "SCI"], ["--learning-rates", "0.5"]):
        with pytest.raises(SystemExit, match="error: .*holds no run of these rows"):
            recipe.main([*TINY, "--table", *other])
    with pytest.raises(SystemExit, match="holds no trial"):
        recipe.main([*TINY, "--table", "--trials-only"])
    assert not (folder / "trials.md").exists()
    recipe.main([*TINY, "--table", "--learning-rates", "0.001"])
    assert "| SE | 10.0% | 75.0% | 1 | 0.001 |" in (folder / "ablation.md").read_text()


def test_a_table_says_what_it_leaves_out(untrained, tmp_path, capsys):
    recipe, _ = untrained
    recipe.main([*TINY, "--rows", "CIN", "SE", "--seeds", "1"])
    file = tmp_path / "runs" / "ablation" / "results.jsonl"
    file.write_text(file.read_text().replace('"contrast": "cci"', '"contrast": "another"'))
    recipe.main([*TINY, "--table"])
    assert "Left out, from before the row became what it is: CIN (1)" in capsys.readouterr().out
    assert "CIN" not in file.with_name("ablation.md").read_text()


def test_the_best_of_several_rates_is_that_of_the_options(untrained):
    """Trials of other rates may stand in the file, too."""
    recipe, calls = untrained
    recipe.main([*TINY, "--learning-rates", "0.001", "0.009", "--rows", "plain", "--seeds", "1"])
    calls.clear()
    recipe.main([*TINY, "--learning-rates", "0.001", "0.002", "--rows", "plain", "--seeds", "1"])
    assert calls == [("plain", 18, 0.002, 1, 0), ("plain", 36, 0.002, 1, 0)]


def test_a_row_has_arguments_and_rates_of_its_own(untrained, tmp_path, monkeypatch):
    recipe, calls = untrained
    shorten_mobilenet(monkeypatch, 2)
    network = ["--backbone", "mobilenet", "--feature-layer", "conv_pw_2_relu"]
    network += ["--freeze-to", "conv_pw_1_relu"]
    recipe.main([*TINY, *network, "--rows", "bilinear", "CIN, slow ψ", "--seeds", "1"])
    assert [call[0] for call in calls] == ["bilinear", "CIN, slow ψ"]
    bilinear, slow = records(tmp_path / "runs" / "ablation")
    assert bilinear["arguments"] == {"interaction": "bilinear", "contrast": None, "projection_dim": 64}  # fmt: skip
    assert (bilinear["learning_rate"], slow["learning_rate"]) == (0.001, 0.02)
    assert bilinear["recipe"] == {"weight_decay": 1e-5}
    assert "recipe" not in slow
    assert slow["learning_rate"] == 0.02 and slow["rates"] == {"phi": 0.05, "psi": 0.001}
    assert bilinear["rates"] == {"phi": 0.05, "psi": 0.01, "classifier": 10_000.0}


@pytest.mark.filterwarnings("ignore:Even though:UserWarning")
def test_maps_computed_once_unseen_classes_and_shares_of_the_recipe(
    recipe, tmp_path, few_drawings, capsys, monkeypatch, untraced
):
    """The network is cut behind the frozen part; recall is of classes that are not trained."""
    options = [*TINY, "--freeze-to", "block_2", "--crops", "2", "--unseen", "--seeds", "1"]
    rows = ["--rows", "mean+deviation", "plain, decay"]
    recipe.main([*options, *rows])
    runs = records(tmp_path / "runs" / "ablation")
    assert [run["row"] for run in runs] == ["mean+deviation", "plain, decay"]
    assert all(0 <= run["recall_at_1"] <= 1 and 0 <= run["ece"] <= 1 for run in runs)
    assert runs[1]["recipe"] == {"label_smoothing": 0.0} and "recipe" not in runs[0]
    (maps,) = (tmp_path / "runs" / "maps").iterdir()
    assert maps.name == "small-block_2-32" and len(list(maps.iterdir())) == 4
    table = capsys.readouterr().out
    assert "| recall@1, unseen classes | whitened | ECE |" in table

    def not_again(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr(FrozenPart, "pairs", not_again)
    recipe.main([*options, *rows])


def test_trials_alone_choose_the_rates(untrained, tmp_path, capsys):
    recipe, calls = untrained
    rates = ["--learning-rates", "0.001", "0.004", "--trials-only"]
    recipe.main([*TINY, "--rows", "plain, neither", "plain", *rates])
    assert [(row, rate) for row, _, rate, _, _ in calls] == [
        ("plain, neither", 0.001), ("plain, neither", 0.004), ("plain", 0.001), ("plain", 0.004),
    ]  # fmt: skip
    assert {record["kind"] for record in records(tmp_path / "runs" / "ablation")} == {"trial"}
    text = (tmp_path / "runs" / "ablation" / "trials.md").read_text()
    assert text in capsys.readouterr().out
    assert "| plain | 0.001 | 10.0% | 75.0% | 1 |\n| plain | 0.004 | 40.0% |" in text
    calls.clear()
    recipe.main([*TINY, "--rows", "plain", *rates, "--trial-seeds", "2"])
    assert [(rate, seed) for _, _, rate, _, seed in calls] == [(0.001, 1), (0.004, 1)]
    assert "| plain | 0.001 | 15.0% ± 7.1 | 75.0% | 2 |" in capsys.readouterr().out


def test_options_reach_what_is_trained(recipe, few_drawings, monkeypatch):
    class Seen(Exception):
        pass

    def train(row, samples, learning_rate, epochs, seed, reader, *budget):
        raise Seen(budget, reader.pairs_per_batch, reader.model(row, 3))

    monkeypatch.setattr(comparison, "train_row", train)
    options = ["--freeze-to", "block_2", "--weight-decay", "0.3", "--label-smoothing", "0.2"]
    with pytest.raises(Seen) as seen:
        recipe.main([*TINY, *options, "--rows", "SCI"])
    budget, pairs_per_batch, model = seen.value.args
    assert (budget, pairs_per_batch) == (("small", 0.3, 0.2), 6)
    assert model.interaction_name == "sci" and model.input_shape == (None, 32, 32, 3)
    assert not all(layer.trainable for layer in model.backbone.layers)


def test_systems_of_other_papers_are_rows(recipe):
    rows = recipe.parse_arguments(TINY).rows
    assert {"CGNL", "MAMC", "NTS", "NTS+CIN"} <= set(rows)
    assert not {"NTS", "NTS+CIN"} & set(recipe.parse_arguments(["--crops", "2", "--freeze-to", "block_2"]).rows)


def test_results_of_before_are_gone_on_with(untrained, tmp_path):
    """The lines are as of the first version of the recipe."""
    recipe, calls = untrained
    arguments = [*TINY, "--rows", "plain", "--seeds", "1"]
    recipe.main(arguments)
    folder = tmp_path / "runs" / "ablation"
    settings = (folder / "results.jsonl").read_text().splitlines()[0]
    run = {"kind": "run", "row": "plain", "seed": 0, "learning_rate": 0.002}
    run |= {"arguments": {"interaction": None, "contrast": None}}
    run |= {"rates": {"phi": 0.05, "psi": 0.01}, "seconds": 5, "accuracy": 0.5, "top_5_accuracy": 0.75}  # fmt: skip
    (folder / "results.jsonl").write_text(f"{settings}\n{json.dumps(run)}\n")
    calls.clear()
    recipe.main(arguments)
    assert calls == [] and records(folder) == [run]
    assert "| plain | 50.0% | 75.0% | 1 | 0.002 | 1.5 |" in (folder / "ablation.md").read_text()


def test_other_settings_in_the_same_folder_are_refused(untrained, tmp_path):
    recipe, calls = untrained
    (tmp_path / "runs" / "ablation").mkdir(parents=True)
    path = tmp_path / "runs" / "ablation" / "results.jsonl"
    path.write_text('{"settings": {"epochs": 7}}\n')
    with pytest.raises(SystemExit, match="^error: .*other settings .*epochs"):
        recipe.main([*TINY, "--rows", "plain"])
    assert path.read_text() == '{"settings": {"epochs": 7}}\n' and not calls


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "plain", "--freeze-to", "conv_9"], "error: .*conv_9"),
        (["--rows", "NTS", "--crops", "2"], "--crops or these rows out. Received: --rows NTS"),
        (["--rows", "CIN", "--crops", "2"], "--crops keeps .*: give --freeze-to, too"),
        (["--data-dir", "nowhere"], "error: .*nowhere"),
        (["--rows", "CNN"], "invalid choice: 'CNN'"),
        (["--seeds", "0"], "--seeds: invalid positive int value: '0'"),
    ],
)
def test_mistakes_are_named_before_training(untrained, capsys, arguments, words):
    recipe, calls = untrained
    with pytest.raises(SystemExit) as end:
        recipe.main([*TINY, *arguments])
    text = f"{end.value.code} {capsys.readouterr().err}"
    assert re.search(words, text) and not calls
