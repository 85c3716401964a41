import csv
import io
import json
import os
import shutil
import types

import numpy as np
import pytest

import cin_keras
from cin_keras import Gallery
from cin_keras.cli import index, main
from cin_keras.cli.galleries import check_image_size
from cin_keras.cli.parser import build_parser
from cin_keras.gallery.embedder import Embedder
from tests.callbacks.no_room import no_room_beyond
from tests.cli.conftest import COLOURS, colour_model, write_photograph


@pytest.fixture
def place(models, photographs, tmp_path, monkeypatch):
    """A folder with a model in `model.keras` and photographs of three colours in `photos/`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(models / "c.keras", "model.keras")
    return tmp_path


def unit(colour):
    return np.asarray(colour, "float32") / np.linalg.norm(colour)


def test_a_full_disk_is_an_accident_and_no_mistake(place, monkeypatch, capsys):
    ended = []
    monkeypatch.setattr("cin_keras.cli.stop", lambda *given: ended.append(given))
    with no_room_beyond(100):
        main(["index", "model.keras", "photos", "--output", "gallery.npz"])
    ((said, status),) = ended
    assert status == 1 and "gallery.npz" in said and "File too large" in said
    assert not (place / "gallery.npz").exists()


@pytest.mark.every_backend
def test_index_search_predict_and_add(place, capsys):
    assert main(["index", "model.keras", "photos", "--output", "gallery.npz"]) == 0
    out = capsys.readouterr().out
    assert "gallery.npz: Gallery(3 classes, 3 images, 1–1 a class" in out
    assert [f for f in os.listdir() if "part" in f] == []

    colour = (230, 240, 20)
    asked = write_photograph(place / "asked" / "gelb.png", colour)
    assert main(["search", "gallery.npz", asked, "--top", "2", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    best = sorted(COLOURS, key=lambda name: -unit(COLOURS[name]) @ unit(colour))
    assert entry["path"] == asked
    assert [each["class"] for each in entry["neighbours"]] == best[:2]
    for each in entry["neighbours"]:
        assert each["path"] == os.path.join("photos", each["class"], "1 ü.png")
        similarity = unit(COLOURS[each["class"]]) @ unit(colour)
        np.testing.assert_allclose(each["similarity"], similarity, atol=1e-5)

    new = write_photograph(place / "new" / "1.png", (240, 230, 10))
    command = ["index", "--add", "model.keras", "new", "--class", "gelb"]
    assert main(command) == 0
    assert "4 classes, 4 images" in capsys.readouterr().out
    assert main(["predict", "model.keras", asked, "--gallery", "gallery.npz", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["class"], entry["label"]) == ("gelb", 3)
    # Once more: it is there already.
    assert main(command) == 0
    assert "1 photograph that the gallery has already" in capsys.readouterr().err
    assert Gallery.load("gallery.npz").paths[-1] == os.path.join("new", os.path.basename(new))
    # From another folder, too.
    os.chdir("new")
    assert (
        main(["index", "--add", "../model.keras", ".", *command[4:], "--output", "../gallery.npz"])
        == 0
    )
    assert "1 photograph that the gallery has already" in capsys.readouterr().err
    assert main(["search", "../gallery.npz", "1.png", "--json"]) == 0
    assert os.path.samefile(json.loads(capsys.readouterr().out)["neighbours"][0]["path"], "1.png")


@pytest.mark.parametrize("command", [["search", "gallery.npz"], ["predict", "model.keras", "--gallery", "gallery.npz"]])
def test_the_batch_size_is_that_of_the_network_too(place, monkeypatch, command):
    main(["index", "model.keras", "photos"])
    of_batch, sizes = Embedder.of_batch, []
    monkeypatch.setattr(
        Embedder, "of_batch", lambda self, images: sizes.append(len(images)) or of_batch(self, images)
    )
    assert main([*command, *["photos"] * 20, "--batch-size", "50"]) == 0
    assert sizes == [50, 10]


def test_too_little_memory_is_said_with_its_options(place, monkeypatch):
    def fail(self, images):
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    ended = []
    monkeypatch.setattr("cin_keras.cli.stop", lambda *given: ended.append(given))
    main(["index", "model.keras", "photos"])
    monkeypatch.setattr(Embedder, "of_batch", fail)
    main(["search", "gallery.npz", "photos", "--batch-size", "50"])
    assert ended == [("error: There is not enough memory with --batch-size=50: lower it.", 1)]


def test_text_and_csv(place, capsys):
    main(["index", "model.keras", "photos"])
    capsys.readouterr()
    assert main(["search", "gallery.npz", "photos", "gone.jpg", "--top", "1"]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 6
    for path, found in zip(lines[::2], lines[1::2]):
        assert found == f"  1.000  {path.split(os.sep)[1]}  {path}"
    assert "cannot read 'gone.jpg': there is no such file" in err
    assert main(["search", "gallery.npz", "photos", "--csv", "--output", "out.csv"]) == 0
    with open("out.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 3
    assert all(row["path"] == row["neighbour"] for row in rows[::3])
    assert "--top 10 is more than the gallery has: 3 photographs." in capsys.readouterr().err


def test_none_of_these_of_a_gallery(place, capsys):
    main(["index", "model.keras", "photos"])
    for name, colour in COLOURS.items():
        write_photograph(place / "val" / name / "2.png", np.clip(np.array(colour) + 9, 0, 255))
    write_photograph(place / "val" / "grau" / "1.png", (128, 128, 128))
    (place / "val" / "rot" / "bad.png").write_bytes(b"")
    capsys.readouterr()
    assert main(["index", "--add", "model.keras", "photos", "--calibrate", "val"]) == 1
    out, err = capsys.readouterr()
    assert "bad.png': the file is empty" in err and "1 of 8 photographs could not be read." in err
    threshold = Gallery.load("gallery.npz").threshold
    assert threshold > unit((1, 1, 1)) @ unit(COLOURS["blau"])
    assert f"none of these below {threshold:.3f})" in out
    assert "Of 1 photograph of other classes, 0.0% are still taken for one." in out
    paths = [str(place / "val" / "grau" / "1.png"), str(place / "val" / "rot" / "2.png")]
    command = ["predict", "model.keras", *paths, "--gallery", "gallery.npz"]
    (place / "by_nearest.npz").write_bytes((place / "gallery.npz").read_bytes())
    main(["index", "--add", "model.keras", "photos", "--output", "by_nearest.npz", "--by", "nearest"])
    assert "threshold of none of these was for --by means and is given up" in capsys.readouterr().err
    assert main(command) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{paths[0]}: none of these (")
    assert second.startswith(f"{paths[1]}: rot ")
    assert main([*command, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["answer"] for row in rows] == ["", "rot"] and rows[0]["class"] in COLOURS
    assert main([*command, "--json"]) == 0
    entry = json.loads(capsys.readouterr().out.splitlines()[0])
    assert entry["class"] is entry["label"] is None and entry["top"][0]["class"] in COLOURS


def test_none_of_these_of_a_classifier(place, capsys):
    command = ["predict", "model.keras", "photos", "--min-confidence"]
    assert main([*command, "0.95", "--json"]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    sure = [entry["top"][0]["probability"] >= 0.95 for entry in entries]
    assert sorted(sure) == [False, True, True], "one is in doubt"
    for entry, is_sure in zip(entries, sure):
        assert (entry["class"] is not None) == is_sure
        assert entry["probability"] == entry["top"][0]["probability"]
    assert main([*command, "1"]) == 0
    assert capsys.readouterr().out.count(": none of these (") == 3


def test_bad_photographs_and_tables(place, capsys):
    (place / "photos" / "rot" / "2.png").write_bytes(b"")
    assert main(["index", "model.keras", "photos"]) == 1
    captured = capsys.readouterr()
    assert "3 images" in captured.out and "2.png': the file is empty" in captured.err
    assert "1 of 4 photographs could not be read." in captured.err
    rows = [
        f"photos/{name}/1 ü.png,{name},{split}"
        for name, split in zip(COLOURS, ["train", "val", "test"])
    ]
    (place / "table.csv").write_text("\n".join(["path,label,split", *rows]), "utf-8")
    assert main(["index", "model.keras", "table.csv", "--output", "a.npz"]) == 0
    assert len(Gallery.load("a.npz")) == 3
    assert main(["index", "model.keras", "table.csv", "--output", "b.npz", "--split", "val"]) == 0
    assert Gallery.load("b.npz").class_names == ("grün",)
    # A table's options are of the one of the two that is a table.
    (place / "table.csv").write_text("\n".join(["path,art", *(row.rpartition(",")[0] for row in rows)]), "utf-8")
    for data, others in (("photos", "table.csv"), ("table.csv", "photos")):
        command = ["index", "model.keras", data, "--calibrate", others, "--label-column", "art"]
        assert main([*command, "--output", f"{data}.npz"]) == 2
        assert "--calibrate must be photographs that are" in capsys.readouterr().err
        assert not (place / f"{data}.npz.part").exists(), "it took time to find out"
    for path in (place / "photos").rglob("*.png"):
        path.write_bytes(b"")
    assert main(["index", "model.keras", "photos", "--output", "c.npz"]) == 1
    assert "None of the photographs could be read" in capsys.readouterr().err
    assert not list(place.glob("c.npz*"))


def test_a_split_of_what_is_not_divided_is_a_random_one(place, capsys):
    for name in COLOURS:
        for i in range(9):
            write_photograph(place / "photos" / name / f"more {i}.png", COLOURS[name])
    assert main(["index", "model.keras", "photos", "--split", "train"]) == 0
    out, err = capsys.readouterr()
    assert "24 images" in out
    assert "photos is not divided: its train part is a random one, the same as long" in err
    command = ["index", "model.keras", "photos", "--add", "--split", "test", "--calibrate", "photos"]
    assert main([*command, "--calibrate-split", "val"]) == 0
    assert "its val part is a random one" in capsys.readouterr().err


def test_broken_off_the_same_command_goes_on(place, capsys, monkeypatch):
    of_batch, calls = Embedder.of_batch, []

    def broken_off(self, images):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return of_batch(self, images)

    monkeypatch.setattr(Embedder, "of_batch", broken_off)
    command = ["index", "model.keras", "photos", "--batch-size", "1"]
    args = build_parser().parse_args(command)
    with pytest.raises(KeyboardInterrupt):
        index.run(args)
    assert "the same command goes on" in capsys.readouterr().err
    assert (place / "gallery.npz.part").exists() and not (place / "gallery.npz").exists()
    assert main(command) == 0
    assert len(calls) == 4 and not (place / "gallery.npz.part").exists()


def test_a_model_that_has_moved(place, capsys):
    (place / "out").mkdir()
    assert main(["index", "model.keras", "photos", "--output", "out/g.npz"]) == 0
    # Together to another place.
    shutil.copytree(place, place / "there", ignore=shutil.ignore_patterns("there"))
    os.remove("model.keras")
    photograph = os.path.join("there", "photos", "rot", "1 ü.png")
    assert main(["search", "there/out/g.npz", photograph]) == 0
    capsys.readouterr()
    assert main(["search", "out/g.npz", photograph]) == 2
    err = capsys.readouterr().err
    assert "is not at 'model.keras': give it with --model" in err and err.count("\n") == 1
    assert main(["search", "out/g.npz", photograph, "--model", "there/model.keras"]) == 0


@pytest.mark.parametrize(
    "command, words",
    [
        ("index model.keras photos", "'gallery.npz' is there already: --add adds"),
        ("index model.keras photos --output g.pkl", "--output must end in .npz"),
        ("index model.keras photos --output gone/g.npz", "There is no folder 'gone'"),
        ("index --add model.keras photos --output g.npz", "leave --add out"),
        ("index other.keras photos --add", "was made with another model"),
        ("index model.keras photos --add --calibrate photos", "--calibrate must be photographs that are"),
        ("index model.keras photos --add --calibrate gone", "Received: --calibrate='gone'"),
        (
            "index model.keras photos --add --calibrate photos --calibrate-split x",
            "Received: --calibrate-split='x'",
        ),
        ("index model.keras photos --add --calibrate-split val", "--calibrate-split is for --calibrate"),
        ("index model.keras photos --add --false-alarm-rate 0", "--false-alarm-rate is for --calibrate"),
        ("index model.keras photos --add --class Z --split val", "of which --split says nothing"),
        ("index model.keras photos --add --class Z --levels a,b", "of which --levels says nothing"),
        ("index model.keras photos --output g.npz --image-size 9", "--image-size"),
        ("index model.keras photos/rot --output g.npz", "holds no data set"),
        ("index model.keras gone --output g.npz", "No data set. Received: DATA='gone'"),
        ("search gone.npz photos", "There is no file 'gone.npz'"),
        ("search model.keras photos", "no gallery"),
        ("search gallery.npz photos --model other.keras", "made with another model"),
        ("predict other.keras photos --gallery gallery.npz", "made with another model"),
        ("predict model.keras photos --gallery gallery.npz --image-size 9", "--image-size"),
    ],
)
def test_mistakes(place, made, capsys, command, words):
    for name in ("gallery.npz", "other.keras"):
        shutil.copy(made / name, name)
    assert main(command.split()) == 2
    err = capsys.readouterr().err
    assert words in err and len([line for line in err.splitlines() if line[:6] == "error:"]) == 1


def test_what_a_gallery_cannot_be_asked(place, capsys):
    Gallery(cin_keras.load_model("model.keras")).save("none.npz")
    for command in ("search none.npz photos", "predict model.keras photos --gallery none.npz"):
        model = ["--model", "model.keras"] if command.startswith("search") else []
        assert main([*command.split(), *model]) == 2
        assert "The gallery 'none.npz' is empty." in capsys.readouterr().err
    gallery = types.SimpleNamespace(image_size=(8, 12))
    for size in (8, 12):
        with pytest.raises(ValueError, match=rf"that of the gallery, \(8, 12\).* image_size={size}"):
            check_image_size(gallery, size)


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A gallery of one photograph with the colours' model, and another model, made once."""
    folder = tmp_path_factory.mktemp("made")
    write_photograph(folder / "rot.png", COLOURS["rot"])
    command = ["index", str(models / "c.keras"), str(folder / "rot.png"), "--class", "rot"]
    assert main([*command, "--output", str(folder / "gallery.npz")]) == 0
    write_photograph(folder / "p" / "grün" / "g.png", COLOURS["grün"])
    command = ["index", "--add", str(models / "c.keras"), str(folder / "p")]
    assert main([*command, "--output", str(folder / "gallery.npz")]) == 0
    colour_model(interaction="phi").save(folder / "other.keras")
    return folder
