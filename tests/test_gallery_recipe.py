import dataclasses
import functools
import json
import pathlib
import re
import sys

import numpy as np
import pytest

import cin_keras
from cin_keras.data import drawn_cars
from tests.recipe_runs import load_recipe, run_here


@pytest.fixture(autouse=True)
def few_drawings(monkeypatch):
    """The 96 that are asked for: to draw them all takes longer than to train on them."""
    few = functools.partial(drawn_cars, images_per_class=8)
    monkeypatch.setattr(cin_keras.data, "drawn_cars", few)


def test_half_of_the_classes_and_then_the_others(tmp_path, monkeypatch, capsys, undrawn):
    recipe = load_recipe("gallery")
    trained, train_half = [], recipe.train_on

    def train_on(samples, args, output):
        trained.append((output, [part.num_classes for part in samples]))
        if output.endswith("all"):  # the same again, and longer
            so_far = (tmp_path / "gallery.md").read_text()
            assert "| all | nearest |" in so_far and "trained on all" not in so_far
            return None, {"accuracy": 0.625}
        return train_half(samples, args, output)

    monkeypatch.setattr(recipe, "train_on", train_on)
    monkeypatch.setattr(recipe.cin_keras, "Gallery", Watched)
    Watched.sizes.clear()
    args = recipe.build_parser([str(tmp_path / "none")]).parse_args(
        ["--image-size", "32", "--limit", "96", "--epochs", "1", "--output", str(tmp_path)]
    )
    recipe.main(recipe.settle_data_set(args, recipe.PHOTOGRAPHS, recipe.DRAWINGS))
    assert trained == [(f"{tmp_path}/half", [6] * 3), (f"{tmp_path}/all", [12] * 3)]
    # Known ones, and of six new classes one, five and all eight photographs.
    assert Watched.sizes == [48, 48 + 6, 48 + 30, 48 + 48]
    table = (tmp_path / "gallery.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    rows = {(row[0], row[1]): row[2:] for row in rows}
    for count in ("1", "5", "all"):
        for by in ("means", "nearest"):
            every, known, new = (float(cell.rstrip("%")) for cell in rows[count, by])
            np.testing.assert_allclose(every, (known + new) / 2, atol=0.11)
    assert "| trained on all classes | | 62.5% | | |" in table
    for name in ("class means", "classifier"):
        assert re.search(rf"\| {name} \| [01]\.\d{{3}} \| [\d.]+% \|", table)
    assert "--limit 96" in json.loads((tmp_path / "half" / "metrics.json").read_text())["command"]
    assert "96 images, 8–8 a class" in table and table in capsys.readouterr().out + "\n"


class Watched(cin_keras.Gallery):
    """Notes how many photographs there are after each addition."""

    sizes = []

    def add(self, *args, **kwargs):
        added = super().add(*args, **kwargs)
        self.sizes.append(len(self))
        return added


def test_mistakes_and_accidents_end_in_one_sentence(tmp_path, monkeypatch):
    recipe = load_recipe("gallery")

    def run(*arguments):
        args = recipe.build_parser().parse_args([*arguments, "--output", str(tmp_path / "out")])
        recipe.main(recipe.settle_data_set(args, recipe.PHOTOGRAPHS, recipe.DRAWINGS))

    with pytest.raises(SystemExit, match="^error: No .*nowhere"):
        run("--data-dir", str(tmp_path / "nowhere"))

    def gone(*args):
        raise OSError("'a.jpg' cannot be decoded: it is gone")

    monkeypatch.setattr(recipe, "train_on", lambda *args: (None, {}))
    monkeypatch.setattr(recipe, "ask_gallery", gone)
    monkeypatch.setattr("cin_keras.training.failures.stop", lambda *said: sys.exit(said[0]))
    with pytest.raises(SystemExit, match="^\nerror: 'a.jpg' cannot be decoded: it is gone$"):
        run("--image-size", "32", "--limit", "96")


def test_bad_photographs_of_the_other_half(tmp_path, monkeypatch, capsys):
    """They are found before anything is trained; or left out, as a gallery asks for single ones."""
    recipe = load_recipe("gallery")
    parts = [drawn_cars(split, 4, 4, 32) for split in ("train", "validation", "test")]
    bad = dataclasses.replace(parts[0], encoded=[*parts[0].encoded[:-1], b"no image"])
    monkeypatch.setattr(recipe, "load_samples", lambda args: [bad, *parts[1:]])
    trained = []
    monkeypatch.setattr(recipe, "train_on", lambda *args: (trained.append(args[0]), {"accuracy": 1}))
    monkeypatch.setattr(recipe, "ask_gallery", lambda _, *halves_and_args: lambda accuracy: None)

    def run(*options):
        command = ["--image-size", "32", "--output", str(tmp_path), *options]
        args = recipe.build_parser([str(tmp_path / "none")]).parse_args(command)
        recipe.main(recipe.settle_data_set(args, recipe.PHOTOGRAPHS, recipe.DRAWINGS))

    with pytest.raises(SystemExit, match="^error: Cannot decode .* --on-error skip goes on without"):
        run()
    assert not trained
    run("--on-error", "skip")
    assert [[len(part) for part in parts] for parts in trained] == [[8, 8, 8], [15, 16, 16]]
    assert "cannot be decoded: 'drawn/train/03/0003.png'" in capsys.readouterr().out


def test_one_device(tmp_path):
    recipe = pathlib.Path(load_recipe("gallery").__file__)
    code, output = run_here(recipe, "--distribute", folder=tmp_path)
    assert code == 1 and "Leave --distribute out" in output


def test_the_index_finds_nearly_all(capsys):
    pytest.importorskip("faiss")
    recipe = load_recipe("gallery_index")
    recipe.main(["--vectors", "4000", "--width", "32", "--queries", "30"])
    exact, by_index = capsys.readouterr().out.splitlines()[-2:]
    assert "| all of them | 0 s | 0.00 | 100.0% |" in exact
    assert float(by_index.split(" | ")[3].rstrip("%")) >= 90


def test_a_package_that_is_missing_is_named_first(capsys, monkeypatch):
    recipe = load_recipe("gallery_index")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "usearch" else name)
    monkeypatch.setattr(recipe, "made_up", None)
    with pytest.raises(SystemExit):
        recipe.main(["--usearch"])
    assert "error: a package is missing: pip install usearch" in capsys.readouterr().err


def test_too_few_vectors_for_an_index_are_one_sentence(capsys):
    recipe = load_recipe("gallery_index")
    with pytest.raises(SystemExit):
        recipe.main(["--vectors", "5"])
    assert "error: an index is of 100 vectors or more. Received: --vectors 5" in capsys.readouterr().err
