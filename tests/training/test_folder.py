"""`cin-keras train` on folders, up to `fit`, which is replaced: which photographs it would see."""

import json
import os
import pathlib
import re
import shutil

import pytest

import cin_keras
from cin_keras.callbacks import SaveTrainingState
from cin_keras.cli import main
from cin_keras.training import network
from tests.data.small_sets import write_files
from tests.models.networks import tiny_backbone

SMALL = ["--backbone", "small", "--image-size", "32", "--pairs-per-batch", "2"]


class Trained(BaseException):
    """What `fit` was given: paths by part, and the epoch to begin with."""

    def __init__(self, model, pairs, validation_data, initial_epoch):
        self.train = set(pairs.skipped.samples.paths)
        self.validation = set(validation_data.skipped.samples.paths)
        self.class_names, self.initial_epoch = list(model.class_names), initial_epoch
        self.photographs = {os.path.basename(path) for path in self.train}


@pytest.fixture(autouse=True)
def train(tmp_path, monkeypatch):
    """Trains no step but leaves what a run of one epoch does; returns what it was given."""

    def fit(model, pairs, validation_data, initial_epoch, callbacks, **kwargs):
        for state in callbacks:
            if isinstance(state, SaveTrainingState):
                state.set_model(model)
                state.on_train_begin()
                state.on_epoch_begin(initial_epoch)
        raise Trained(model, pairs, validation_data, initial_epoch)

    def train(*arguments):
        with pytest.raises(Trained) as trained:
            assert main(["train", *arguments, *SMALL]) is None, "it did not come to training"
        return trained.value

    def of_one_convolution(size, dtype=None):  # no network learns here
        return tiny_backbone(size=size)

    monkeypatch.setattr(network, "small_backbone", of_one_convolution)
    monkeypatch.setattr(cin_keras.CIN, "fit", fit)
    monkeypatch.chdir(tmp_path)
    return train


def refuse(capsys, *arguments):
    """The sentence with which a training is refused."""
    capsys.readouterr()
    assert main(["train", *arguments, *SMALL]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err and err.splitlines()[-1].startswith("error: "), err
    return err.splitlines()[-1]


def write_pets(folder, *classes, count=10, start=0):
    write_files(folder, *[f"{c}/{i}.png" for c in classes for i in range(start, start + count)])


def read_split(folder):
    return json.loads(pathlib.Path(folder, "split.json").read_text("utf-8"))


@pytest.mark.parametrize("folders", [("shop.v1", "shop.v2"), ("A/photos", "B/photos")])
def test_data_sets_of_like_names_share_nothing(tmp_path, train, folders):
    for folder, classes in zip(folders, (("cat", "dog"), ("owl", "tit"))):
        write_pets(tmp_path / folder, *classes)
        trained = train(folder)
        assert trained.class_names == list(classes)
        output = f"runs/{pathlib.Path(folder).name}"
        assert read_split(output)["class_names"] == list(classes)
        assert read_split(output)["about"] == {"data": folder, "seed": 0}


def test_another_seed_is_another_split_and_the_same_one_the_same(tmp_path, train):
    write_pets(tmp_path / "pets", "cat", "dog")
    first, other, again = (train("pets", "--seed", seed).train for seed in "010")
    assert first != other and first == again
    assert len(list((tmp_path / "runs" / "pets").glob("earlier-*"))) == 2, "each split is kept"


def test_photographs_that_came_later_are_used_by_a_new_run_and_named_by_one_that_goes_on(
    tmp_path, train, capsys
):
    write_pets(tmp_path / "pets", "cat", "dog")
    before = train("pets")
    write_pets(tmp_path / "pets", "cat", count=20, start=100)
    again = train("pets", "--resume")
    said = capsys.readouterr().err
    assert re.search("warning: 20 images of pets are not in the split.*cat/100.png", said)
    assert again.train == before.train
    now = train("pets")
    assert any("/1" in path and len(pathlib.Path(path).stem) == 3 for path in now.train)


def test_another_run_splits_as_one_did(tmp_path, train, capsys):
    write_pets(tmp_path / "pets", "cat", "dog")
    before = train("pets", "--seed", "1")
    write_pets(tmp_path / "pets", "cat", count=20, start=100)
    again = train("pets", "--split-file", "runs/pets/split.json")
    assert (again.train, again.validation) == (before.train, before.validation)
    assert "--split-file='none'" in refuse(capsys, "pets", "--split-file", "none")
    assert "--split-file='none'" in refuse(capsys, "pets", "--split-file", "none", "--resume")
    train("pets", "--split-file", "./runs/pets/split.json", "--resume")
    split = json.loads((tmp_path / "runs" / "pets" / "split.json").read_text())
    assert split["about"] == {"data": "pets", "split_file": "runs/pets/split.json"}
    pathlib.Path("sorted.json").write_text(json.dumps(split, sort_keys=True))
    again = train("pets", "--split-file", "sorted.json")
    assert (again.train, again.validation) == (before.train, before.validation)
    del split["test"]
    pathlib.Path("few.json").write_text(json.dumps(split))
    sentence = refuse(capsys, "pets", "--split-file", "few.json", "--resume")
    assert "leave --split-file out. Received: --split-file='few.json'" in sentence
    sentence = refuse(capsys, "pets", "--split-file", "few.json")
    assert "few.json says nothing of 'test', only of 'train', 'val': give another file" in sentence


@pytest.mark.parametrize("typed", ["./pets", "pets/", "absolute", "copy", "other/../pets"])
def test_a_run_goes_on_however_its_folder_is_typed(tmp_path, train, typed):
    write_pets(tmp_path / "pets", "cat", "dog")
    first = train("pets", "--output", "run")
    (tmp_path / "other").mkdir()
    if typed == "copy":
        shutil.move(tmp_path / "pets", tmp_path / "mount" / "animals")
        typed = "mount/animals"
    typed = str(tmp_path / "pets") if typed == "absolute" else typed
    again = train(typed, "--output", "./run/", "--resume", "--on-error", "skip")
    assert again.photographs == first.photographs
    assert not list((tmp_path / "run").glob("earlier-*"))


def test_a_table_goes_on_from_another_place(tmp_path, train):
    write_pets(tmp_path / "set", "cat", "dog")
    rows = [f"{c}/{i}.png,{c}" for c in ("cat", "dog") for i in range(10)]
    (tmp_path / "set" / "list.csv").write_text("\n".join(["path,label", *rows]))
    train("set/list.csv", "--output", "run")
    (tmp_path / "set").rename(tmp_path / "moved")
    train(str(tmp_path / "moved" / "list.csv"), "--output", "run", "--resume")
    assert not list((tmp_path / "run").glob("earlier-*"))


def test_a_run_does_not_go_on_with_other_photographs(tmp_path, train, capsys):
    write_pets(tmp_path / "A" / "photos", "cat", "dog")
    write_pets(tmp_path / "B" / "photos", "cat", "dog", count=12, start=5)
    train("A/photos")
    sentence = refuse(capsys, "B/photos", "--resume")
    assert "10 of the 20 photographs" in sentence and "leave --resume out" in sentence
    assert "--seed=1 (was 0)" in refuse(capsys, "A/photos", "--resume", "--seed", "1")


def test_photographs_of_the_same_names_may_be_others(tmp_path, train, capsys):
    write_pets(tmp_path / "pets", "cat", "dog")
    train("pets")
    bad = tmp_path / next(iter(train("pets", "--resume").train))
    bad.write_bytes(b"")
    train("pets", "--resume", "--on-error", "skip")
    out = capsys.readouterr().out
    assert "1 of the 16 photographs to train on are not what they were" in out and bad.name in out
    for path in (tmp_path / "pets").rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"more")
    sentence = refuse(capsys, "pets", "--resume", "--on-error", "skip")
    assert "16 of the 16 photographs" in sentence and "leave --resume out" in sentence


def test_networks_and_weights_are_compared_by_what_they_are(tmp_path, train, capsys):
    write_pets(tmp_path / "pets", "cat", "dog")
    network.small_backbone(32).save_weights(tmp_path / "a.weights.h5")
    shutil.copy(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")
    train("pets", "--weights", "a.weights.h5")
    train("pets", "--weights", str(tmp_path / "b.weights.h5"), "--resume")
    assert "--weights=" in refuse(capsys, "pets", "--resume")


def test_what_a_run_has_written_is_no_class(tmp_path, train, monkeypatch):
    write_pets(tmp_path / "photos", "cat", "dog")
    monkeypatch.chdir(tmp_path / "photos")
    train(".")
    # As an evaluation and explanations would.
    for name in ("evaluation/photos", "explanations", "runs/photos"):
        cin_keras.files.check_writable(pathlib.Path(name))
        shutil.copy("cat/0.png", pathlib.Path(name, "figure.png"))
    for folder in (".", "../photos", str(tmp_path / "photos")):
        assert train(folder).class_names == ["cat", "dog"]
    assert (tmp_path / "photos" / "runs" / "photos" / "split.json").exists()


@pytest.mark.parametrize("output", ["pets", "pets/cat", "./pets/../pets/cat/"])
def test_results_never_lie_among_the_photographs(tmp_path, capsys, output):
    write_pets(tmp_path / "pets", "cat", "dog")
    before = sorted(tmp_path.rglob("*"))
    sentence = refuse(capsys, "pets", "--output", output)
    assert "--output must be a folder that holds no photographs" in sentence
    assert sorted(tmp_path.rglob("*")) == before
    rows = [f"pets/{name}/{i}.png,{name}" for name in ("cat", "dog") for i in range(10)]
    (tmp_path / "pets.csv").write_text("\n".join(["path,label", *rows]))
    sentence = refuse(capsys, "pets.csv", "--output", output)
    assert "--output must be a folder that holds no photographs" in sentence


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_bad_photograph_is_found_before_training(tmp_path, train, capsys, part):
    for name in ("train", "val", "test"):
        write_pets(tmp_path / "pets" / name, "cat", "dog", count=4)
    bad = tmp_path / "pets" / part / "cat" / "2.png"
    bad.write_bytes(b"")
    sentence = refuse(capsys, "pets")
    assert f"Cannot decode 'pets/{part}/cat/2.png' (the file is empty)" in sentence
    assert "--on-error skip" in sentence
    train("pets", "--on-error", "skip")
    for path in (tmp_path / "pets" / part).rglob("*.png"):
        path.write_bytes(b"")
    assert "None of the 8" in refuse(capsys, "pets", "--on-error", "skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-size", "15"], "--image-size must be at least 16 for --backbone small"),
        (["--backbone", "vgg16", "--image-size", "3"], "must be at least 32 for --backbone vgg16"),
        (["--pairs-per-batch", "99"], "lower --pairs-per-batch. Received: 16 images"),
        (["--limit", "1"], "--limit must leave images of two classes"),
        (["--alpha", "-1"], "Received: --alpha=-1.0"),
        (["--feature-layer", "none"], "--feature-layer must name a layer"),
        (["--weights", "nowhere"], "Received: --weights='nowhere'"),
        (["--output", "file/run"], "--output must be a folder that can be written"),
        (["--output", "pets.csv"], "--output must be a folder that can be written"),
    ],
)
def test_mistakes_name_options_as_they_are_typed(tmp_path, capsys, options, message):
    write_pets(tmp_path / "pets", "cat", "dog")
    (tmp_path / "file").touch()
    (tmp_path / "pets.csv").touch()
    assert main(["train", "pets", *SMALL, *options]) == 2
    err = capsys.readouterr().err
    assert message in err and "`" not in err


@pytest.mark.parametrize(
    "arguments", [[""], ["pets", "--output", ""], ["pets", "--weights", " "], ["pets", "--seed=-1"]]
)
def test_nothing_is_no_folder_and_no_number(capsys, arguments):
    assert main(["train", *arguments]) == 2
    err = capsys.readouterr().err
    assert "must not be empty" in err or "must be a whole number from 0" in err


def test_the_columns_of_a_table(tmp_path, train, capsys):
    write_pets(tmp_path / "photos", "a", "b", count=8)
    rows = [f"photos/{c}/{i}.png;{k}" for k, c in enumerate("ab") for i in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(["file;kind", *rows]), "utf-8-sig")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert "has no column 'path'; its columns are file, kind. --path-column" in refuse(
        capsys, "t.csv"
    )
    columns = ["--path-column", "file", "--label-column", "kind", "--class-names", "names.txt"]
    for delimiter in ([], ["--delimiter", ";"]):
        run = train("t.csv", *columns, *delimiter, "--output", f"run{len(delimiter)}")
        assert run.class_names == ["cat", "dog"] and len(run.train) == 12
    columns[-1] = "./names.txt"
    assert train("t.csv", *columns, "--output", "run0", "--resume").train
    assert "--label-column is for a CSV table" in refuse(capsys, "photos", "--label-column", "x")


def test_photographs_of_many_pixels(tmp_path, train, capsys):
    write_pets(tmp_path / "photos", "a", "b")
    message = refuse(capsys, "photos", "--max-pixels", "15")
    assert "4×4 pixels are more than --max-pixels=15" in message
    assert train("photos", "--max-pixels", "16").train
    assert train("photos", "--max-pixels", "17", "--resume").train
    assert train("photos", "--resume").initial_epoch == 0
