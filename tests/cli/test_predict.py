import csv
import io
import json
import os
import re
import shutil
import stat
import sys

import numpy as np
import pytest
import tensorflow as tf

import cin_keras
from cin_keras.cli import main
from cin_keras.data import write_shards
from cin_keras.models.small_backbone import small_backbone
from tests.cli.conftest import COLOURS, colour_model, colour_probabilities, write_photograph
from tests.data.small_sets import coloured_samples

_OF_TENSORFLOW = r"[EIW]\d{4} \d\d:\d\d|\d{4}-\d\d-\d\d .*: [EIW] |WARNING: All log messages before"


def expected(colour):
    """The classes by falling probability: `(name, label, probability)`."""
    found = zip(COLOURS, range(3), colour_probabilities(colour))
    return sorted(found, key=lambda each: -each[2])


@pytest.mark.every_backend
def test_a_folder_of_photographs_with_bad_ones_among_them(models, tmp_path, capfd):
    rng = np.random.default_rng(0)
    colours = {}
    for i, colour in enumerate(rng.integers(0, 256, (7, 3))):
        colours[write_photograph(tmp_path / "in" / f"{i} é" / "x.png", colour)] = colour
    bad = [str(tmp_path / "in" / name) for name in ("0.jpg", "3 é/y.png", "9.png")]
    for path in bad:
        with open(path, "wb"):
            pass
    again = list(colours)[4]
    out = tmp_path / "out.jsonl"
    code = main(
        ["predict", str(models / "c.keras"), str(tmp_path / "in"), again, "gone.jpg"]
        + ["--batch-size", "2", "--top", "2", "--json", "--output", str(out)]
    )
    entries = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert code == 1
    assert [entry["path"] for entry in entries] == [*sorted([*colours, *bad]), again, "gone.jpg"]
    for entry in entries:
        if entry["path"] not in colours:
            assert set(entry) == {"path", "error"}
            continue
        best = expected(colours[entry["path"]])[:2]
        assert (entry["class"], entry["label"]) == best[0][:2]
        assert [(each["class"], each["label"]) for each in entry["top"]] == [b[:2] for b in best]
        probabilities = [entry["probability"], *(each["probability"] for each in entry["top"])]
        np.testing.assert_allclose(probabilities, [best[0][2]] + [b[2] for b in best], atol=2e-6)
    shown, errors = capfd.readouterr()
    assert shown == ""
    for path in bad:
        assert errors.count(f"cannot read {path!r}: the file is empty\n") == 1
    assert "cannot read 'gone.jpg': there is no such file" in errors
    assert errors.rstrip().endswith("4 could not be read.")
    # TensorFlow may have had something to say of the machine, too.
    lines = errors.splitlines()
    own = [line for line in lines if line and not re.match(_OF_TENSORFLOW, line)]
    assert len(own) == 5, errors


def test_text_and_csv(models, photographs, capsys):
    command = ["predict", str(models / "c.keras"), str(photographs), "--top", "2"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line in lines:
        name = line.split(os.sep)[-2]
        first, second = expected(COLOURS[name])[:2]
        shown = f"1 ü.png: {name} {first[2]:.1%}, {second[0]} {second[2]:.1%}"
        assert line.endswith(shown)
    assert main([*command, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["rank"] for row in rows] == ["1", "2"] * 3
    for row in rows[::2]:
        name = row["path"].split(os.sep)[-2]
        assert row["class"] == name and row["label"] == str(list(COLOURS).index(name))
        assert float(row["probability"]) == pytest.approx(expected(COLOURS[name])[0][2], abs=2e-6)


def test_paths_from_standard_input(models, photographs, monkeypatch, capsys):
    red, blue = (str(photographs / name / "1 ü.png") for name in ("rot", "blau"))
    lines = f"{blue}\n\n{red}\r\n{blue}".encode("utf-8-sig")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines), "ascii"))
    assert main(["predict", str(models / "c.keras"), "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [blue, red, blue]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert main(["predict", str(models / "c.keras"), "-"]) == 2
    assert "error: Standard input names no photograph" in capsys.readouterr().err


def test_a_model_without_class_names(models, photographs, capsys):
    command = ["predict", str(models / "unnamed.keras"), str(photographs), "--no-progress"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert sorted(line.split(": ")[1].split()[0] for line in out.splitlines()) == ["0", "1", "2"]
    assert err.splitlines() == [
        f"{models / 'unnamed.keras'} does not name its classes: they are numbers, from 0."
    ]


def test_the_bar_is_on_standard_error(models, photographs, capsys):
    assert main(["predict", str(models / "c.keras"), str(photographs), "--progress"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and "3/3" in err and "3/3" not in out


def test_roll_up_when_unsure(tmp_path, capsys):
    hierarchy = {"kind": ["warm", "cold", "cold"]}  # rot, grün, blau
    colour_model(hierarchy=hierarchy).save(tmp_path / "m.keras")
    colours = {"rot": (255, 0, 0), "cold": (0, 250, 240), "nothing": (200, 190, 195)}
    paths = [write_photograph(tmp_path / f"{name}.png", c) for name, c in colours.items()]
    command = ["predict", str(tmp_path / "m.keras"), *paths, "--min-confidence", "0.9", "--json"]
    assert main(command) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for entry, colour in zip(found, colours.values()):
        red, green, blue = colour_probabilities(colour)
        best = max(red, green, blue)
        assert entry["top"][0]["probability"] == pytest.approx(best, abs=2e-6)
        kind = entry["levels"]["kind"]
        assert kind["probability"] == pytest.approx(max(red, green + blue), abs=3e-6)
        assert kind["class"] == ("warm" if red > green + blue else "cold")
    assert [entry["class"] for entry in found] == ["rot", "cold", None]
    assert [entry.get("level") for entry in found] == ["class", "kind", None]
    assert found[1]["label"] is None and found[1]["probability"] > 0.9
    assert main(command[:-1]) == 0
    lines = [line.split(": ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("rot 9") and lines[1].startswith("kind cold 9")
    assert lines[2].startswith("none of these (")
    assert main([*command[:-1], "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    answers = [(row["answer"], row["level"]) for row in rows]
    assert answers == [("rot", "class"), ("cold", "kind"), ("", "")]


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_the_temperature_of_the_model(tmp_path, photographs, capsys, activation):
    colour_model(classifier_activation=activation, temperature=3.0).save(tmp_path / "m.keras")
    path = str(photographs / "rot" / "1 ü.png")
    assert main(["predict", str(tmp_path / "m.keras"), path, "--json"]) == 0
    powers = [np.exp(5 * part / 255 / 3) for part in COLOURS["rot"]]
    found = json.loads(capsys.readouterr().out)["probability"]
    assert found == pytest.approx(powers[0] / sum(powers), abs=2e-6)


def test_probabilities_of_the_model_are_taken_as_they_are(tmp_path, photographs, capsys):
    colour_model(classifier_activation="softmax").save(tmp_path / "m.keras")
    path = str(photographs / "rot" / "1 ü.png")
    assert main(["predict", str(tmp_path / "m.keras"), path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["probability"]
    assert found == pytest.approx(colour_probabilities(COLOURS["rot"])[0], abs=2e-6)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["none.keras", "a.jpg"], "error: There is no file 'none.keras'"),
        (["{c}", "a.jpg", "--image-size", "9"], "error: --image-size must be that of the network"),
        (["{c}", ""], "argument PATH: must not be empty"),
        (["{c}", "a.jpg", "--output", ""], "argument --output: must not be empty"),
        (["{c}", "a.jpg", "--max-pixels", "0"], "argument --max-pixels: invalid"),
        (["{c}", "a.jpg", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["{c}", "a.jpg", "--json", "--csv"], "not allowed with argument --json"),
        (["{c}", "a.jpg", "--top", "0"], "invalid positive int value: '0'"),
    ],
)
def test_mistakes(models, capsys, paths, message):
    assert main(["predict", *(path.format(c=models / "c.keras") for path in paths)]) == 2
    assert message in capsys.readouterr().err


def test_nothing_that_can_be_read(models, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(models / "c.keras"), str(tmp_path / "empty"), "no.png"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "the folder holds no image" in err and "'no.png'" in err


def test_results_among_the_photographs_are_left_out_in_a_sentence(models, photographs, tmp_path, capsys):
    folder = shutil.copytree(photographs, tmp_path / "photographs")
    results = shutil.copytree(folder / "rot", folder / "run" / "explanations")
    (results / ".cin_keras_results").touch()
    assert main(["predict", str(models / "c.keras"), str(folder)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert "holds results of cin_keras, no photographs, is left out: run/explanations." in err


def test_shards_are_named_for_what_they_are(models, tmp_path, capsys):
    write_shards(coloured_samples([0, 1]), tmp_path / "shards")
    assert main(["predict", str(models / "c.keras"), str(tmp_path / "shards")]) == 1
    assert "the folder holds shards, which `evaluate` and `index` read" in capsys.readouterr().err


def test_the_result_takes_the_place_of_nothing_that_is_read(models, tmp_path, capsys):
    os.rename(write_photograph(tmp_path / "1.png", (9, 200, 70)), tmp_path / "1")
    photograph = tmp_path / "1"
    model = tmp_path / "c.keras"
    shutil.copy(models / "c.keras", model)
    (tmp_path / "link").symlink_to(model)
    before = photograph.read_bytes(), model.read_bytes()
    command = ["predict", str(model), str(photograph), "--output"]
    for output in ("1", "c.keras", "link"):
        assert main([*command, str(tmp_path / output)]) == 2
        said = capsys.readouterr().err
        assert "which is read: give it" in said or "there is a model, a gallery or an arch" in said
    shutil.copy(models / "c.keras", tmp_path / "other.keras")
    assert main([*command, str(tmp_path / "other.keras")]) == 2
    assert "there is a model, a gallery or an archive of that name" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "missing" / "x.txt")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert main([*command, str(tmp_path)]) == 2
    assert "The output is a file. Received: --output" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "new.JPG")]) == 2
    assert "its name is that of a photograph. Received: --output" in capsys.readouterr().err
    assert (photograph.read_bytes(), model.read_bytes()) == before
    assert main([*command, str(tmp_path / "found.txt")]) == 0


class Ended(BaseException):
    pass


@pytest.fixture
def end(monkeypatch):
    """Makes the end of the process an exception that holds the status."""

    def exit(status):
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", exit)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BrokenPipeError(), 141, ""),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
        (OSError("disk full"), 1, "error: disk full\n"),
    ],
)
def test_quiet_ends(models, photographs, monkeypatch, capsys, end, error, status, message):
    class Broken(io.StringIO):
        def write(self, text):
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken())
        with pytest.raises(Ended) as ended:
            main(["predict", str(models / "c.keras"), str(photographs)])
    assert ended.value.args == (status,)
    assert capsys.readouterr().err == message


def test_a_store_that_cannot_be_reached(models, capsys, end):
    with pytest.raises(Ended) as ended:
        main(["predict", str(models / "c.keras"), "s3://bucket/1.jpg"])
    assert ended.value.args == (1,)
    assert "error: s3://bucket/1.jpg cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    "defect", [KeyError("defect"), tf.errors.InvalidArgumentError(None, None, "a defect")]
)
def test_a_defect_stays_one(models, photographs, monkeypatch, defect):
    def fail(*args, **kwargs):
        raise defect

    monkeypatch.setattr("cin_keras.cli.predict.write_each", fail)
    with pytest.raises(type(defect), match="defect"):
        main(["predict", str(models / "c.keras"), str(photographs)])


def test_a_broken_model(models, tmp_path, photographs, capsys, end):
    model = cin_keras.load_model(models / "c.keras")
    model.classifier.set_weights([np.full((3, 3), np.nan), np.zeros(3)])
    model.save(tmp_path / "nan.keras")
    with pytest.raises(Ended) as ended:
        main(["predict", str(tmp_path / "nan.keras"), str(photographs)])
    assert ended.value.args == (1,)
    assert "error: The model's predictions are not finite" in capsys.readouterr().err


def test_a_file_is_written_whole(models, photographs, tmp_path, end, capsys):
    out = tmp_path / "out.csv"
    out.write_text("before")
    command = ["predict", str(models / "c.keras"), str(photographs), "--output"]
    assert main([*command, "no/such/folder"]) == 2
    assert "no/such/folder" in capsys.readouterr().err
    assert main(["predict", str(models / "c.keras"), str(photographs), "--output", str(out)]) == 0
    assert len(out.read_text("utf-8").splitlines()) == 3
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.csv"]


def test_a_device_and_a_link_stay_what_they_are(models, photographs, tmp_path):
    (tmp_path / "link").symlink_to("found.txt")
    command = ["predict", str(models / "c.keras"), str(photographs), "--output"]
    assert main([*command, os.devnull]) == main([*command, str(tmp_path / "link")]) == 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert (tmp_path / "link").is_symlink()
    assert len((tmp_path / "found.txt").read_text().splitlines()) == 3


def test_names_of_any_kind(models, tmp_path, monkeypatch, capsys):
    """One line a photograph, and what JSON says is the name; a bad one never stops the rest."""
    monkeypatch.chdir(tmp_path)
    names = ["two\nlines.png", "a\u2028b\x85c.png", os.fsdecode(b"caf\xe9.png"), "\x1b[31m.png"]
    for name in names:
        write_photograph(tmp_path / "odd" / name, COLOURS["rot"])
    command = ["predict", str(models / "c.keras"), "odd"]
    assert main([*command, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(json.loads(line)["path"] for line in lines) == sorted(f"odd/{n}" for n in names)
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.endswith(".png: rot 97.6%") for line in lines)
    assert "\x1b" not in "".join(lines)
    assert main([*command, "--csv"]) == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert {"odd/two\nlines.png", "odd/\x1b[31m.png"} <= {row["path"] for row in rows}


def test_a_list_with_bad_names(models, photographs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop.png", "loop.png")
    os.mkfifo("pipe.png")
    bad = [b"a\0b.png", b"x" * 5000, b"loop.png", b"pipe.png", b"/dev/null", b" ", b"no\xff.png"]
    good = os.fsencode(photographs / "rot" / "1 ü.png")
    listed = io.BytesIO(b"\n".join([good, *bad, good]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(listed))
    assert main(["predict", str(models / "c.keras"), "-", "--json"]) == 1
    out, err = capsys.readouterr()
    entries = [json.loads(line) for line in out.splitlines()]
    assert [os.fsencode(entry["path"]) for entry in entries] == [good, *bad, good]
    assert [entry.get("class") for entry in entries] == ["rot", *[None] * len(bad), "rot"]
    assert f"{len(bad)} could not be read." in err


def test_more_classes_than_there_are(models, photographs, capsys):
    command = ["predict", str(models / "c.keras"), str(photographs), "--csv", "--top", "9"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 3 * 3
    assert err == "--top 9 is more than the model has: 3 classes.\n"


def test_the_limit_of_pixels(models, photographs, capsys):
    command = ["predict", str(models / "c.keras"), str(photographs), "--json", "--max-pixels"]
    assert main([*command, "98"]) == 1  # the photographs have 11 × 9
    out, err = capsys.readouterr()
    assert err.count("11×9 pixels are more than --max-pixels=98") == 3
    assert all("--max-pixels=98" in json.loads(line)["error"] for line in out.splitlines())
    assert main([*command, "99"]) == 0


def test_a_size_that_leaves_nothing(tmp_path, photographs, capsys):
    network = small_backbone(None, dtype="float32")
    cin_keras.CIN(3, network, None, (None, None, 3)).save(tmp_path / "any.keras")
    command = ["predict", str(tmp_path / "any.keras"), str(photographs), "--image-size"]
    assert main([*command, "3"]) == 2
    assert capsys.readouterr().err == (
        "error: --image-size must be at least 16 for this network. Received: --image-size=3\n"
    )
    assert main([*command, "16"]) == 0


def test_closed_streams(models, photographs, tmp_path, monkeypatch):
    """As after `<&- >&- 2>&-`, which cron may do."""
    command = ["predict", str(models / "c.keras"), str(photographs), "no.png"]
    with monkeypatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        statuses = [main(command), main([*command, "--progress", "--output", str(tmp_path / "o")])]
        statuses.append(main(["predict", str(models / "c.keras"), "-"]))
    assert statuses == [1, 1, 2]
    assert len((tmp_path / "o").read_text("utf-8").splitlines()) == 3
