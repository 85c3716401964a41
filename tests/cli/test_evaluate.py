import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cin_keras.cli import main
from cin_keras.cli.evaluate import find_samples
from cin_keras.cli.parser import build_parser
from cin_keras.data import Samples, find_splits
from tests.cli.conftest import COLOURS, colour_probabilities, write_photograph
from tests.data.small_sets import write_fgvc_aircraft, write_files


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(models, *arguments):
    return main(["evaluate", str(models / "c.keras"), *arguments])


@pytest.mark.every_backend
def test_a_folder_agrees_with_the_loop(models, here, capsys):
    """Green is not known to the model as "green": its photographs are left out, and said so."""
    rng = np.random.default_rng(1)
    names, right = ["blau", "green", "rot"], {name: [] for name in COLOURS}
    for i in range(12):
        name, colour = names[i % 3], rng.integers(0, 256, 3)
        write_photograph(here / "photos" / name / f"{i}.png", colour)
        if name in COLOURS:
            right[name].append(np.argmax(colour_probabilities(colour)) == list(COLOURS).index(name))
    bad = here / "photos" / "blau" / "bad.png"
    bad.touch()
    assert evaluate(models, "photos", "--batch-size", "3") == 1
    out, err = capsys.readouterr()
    assert "all photographs of photos: Samples(3 classes, 13 images, 4–5 a class)" in out
    assert "The model does not know 'green': 4 photographs are left out." in out
    assert "The data lack classes that the model knows: 'grün'" in out
    assert "cannot read 'photos/blau/bad.png': the file is empty" in err
    assert "1 of 9 photographs could not be read." in err
    metrics = json.loads((here / "evaluation" / "photos" / "metrics.json").read_text("utf-8"))
    both = right["rot"] + right["blau"]
    assert metrics["accuracy"] == pytest.approx(np.mean(both)) and metrics["images"] == 8
    assert f"{np.mean(both):.1%} of 8 photographs right" in out
    per_class = {each["name"]: each for each in metrics["per_class"]}
    for name in ("rot", "blau"):
        assert per_class[name]["accuracy"] == pytest.approx(np.mean(right[name]))
    assert per_class["grün"] == {"name": "grün", "images": 0, "accuracy": None}
    assert list(metrics["skipped"]) == ["photos/blau/bad.png"]
    assert metrics["settings"]["epochs"] == 3 and metrics["versions"]["cin_keras"]
    page = (here / "evaluation" / "photos" / "report.html").read_text("utf-8")
    assert "cin-keras evaluate" in page and "grün" in page
    for name in ("confusion_matrix", "worst_mistakes"):
        assert min(Image.open(here / "evaluation" / "photos" / f"{name}.png").size) > 100


@pytest.mark.usefixtures("undrawn")
def test_classes_in_another_order_and_an_earlier_evaluation(models, photographs, here, capsys):
    assert evaluate(models, str(photographs), "--output", "out") == 0
    assert "in another order: matched by name" in capsys.readouterr().out
    assert json.loads((here / "out" / "metrics.json").read_text())["accuracy"] == 1
    assert evaluate(models, str(photographs), "--output", "out") == 0
    assert "holds an earlier run: moved to out/earlier-" in capsys.readouterr().out


def parts(*arguments, settings=None):
    """What `find_samples` finds: which part, and how many samples."""
    args = build_parser().parse_args(["evaluate", *arguments])
    samples, part, _ = find_samples(args, settings or {})
    return part, len(samples)


def test_parts_of_a_data_set(here):
    write_files(here / "cars", *[f"test/{name}/1.png" for name in "ab"])
    write_files(here / "cars", *[f"train/{name}/{i}.png" for name in "ab" for i in range(3)])
    assert parts("m.keras", "cars") == ("the test part", 2)
    assert parts("m.keras", "cars", "--split", "train") == ("the train part", 6)
    with pytest.raises(ValueError, match="'val'"):
        parts("m.keras", "cars", "--split", "val")


@pytest.mark.usefixtures("undrawn")
def test_photographs_to_train_on_are_said_to_be_some(models, here, capsys):
    """Also in a model card, which takes all others for new to the model."""
    for split in ("train", "test"):
        for name, colour in COLOURS.items():
            write_photograph(here / "photos" / split / name / f"{split}.png", colour)
    for split, told in (("Training", True), ("test", False)):
        assert evaluate(models, "photos", "--split", split, "--output", split) == 0
        assert ("has to be better on them" in capsys.readouterr().out) == told
        metrics = str(here / split / "metrics.json")
        card = here / f"{split}.md"
        assert main(["card", str(models / "c.keras"), "--metrics", metrics, "--output", str(card)]) == 0
        text = card.read_text("utf-8")
        assert ("has to be better on them" in text) == told
        assert ('"split": "test"' in text) != told


@pytest.mark.usefixtures("undrawn")
def test_a_table_with_columns_of_its_own(models, photographs, here, capsys):
    """As Excel writes it, and its classes in an order of their own."""
    lines = ["Datei;Farbe;Teil"]
    for name, colour in COLOURS.items():
        write_photograph(here / "photos" / name / "2.png", colour)
        lines += [f"photos/{name}/1 ü.png;{name};test", f"photos/{name}/2.png;{name};train"]
    (here / "table.csv").write_text("\n".join(lines), "utf-8")
    (here / "names.txt").write_text("\n".join(COLOURS), "utf-8-sig")
    columns = ["--path-column", "Datei", "--label-column", "Farbe", "--split-column", "Teil"]
    assert evaluate(models, "table.csv", *columns, "--class-names", "names.txt") == 0
    out = capsys.readouterr().out
    assert "the test part of table.csv: Samples(3 classes, 3 images" in out
    assert "100.0% of 3 photographs right" in out and "another order" not in out
    assert evaluate(models, "table.csv", *columns, "--delimiter", ",") == 2
    assert "Datei" in capsys.readouterr().err
    assert evaluate(models, "photos", "--path-column", "Datei") == 2
    assert "--path-column is for a CSV table" in capsys.readouterr().err


def test_aircraft_have_the_level_that_the_model_was_trained_on(here):
    write_fgvc_aircraft(here / "aircraft")
    args = build_parser().parse_args(["evaluate", "m.keras", "aircraft"])
    assert "737-700" in find_samples(args, {})[0].class_names
    samples = find_samples(args, {"level": "manufacturer"})[0]
    assert samples.class_names == ("Boeing", "McDonnell Douglas") and len(samples) == 2


def test_the_split_of_a_run(here):
    """Written down beside a model that was trained on these photographs, or given."""
    write_files(here / "pets", *[f"{name}/{i}.png" for name in "abc" for i in range(10)])
    assert parts("run/model.keras", "pets", settings={"data_dir": "pets"}) == (
        "all photographs",
        30,
    )
    (here / "run").mkdir()
    find_splits("pets", split_file=here / "run" / "split.json")
    of_the_run = parts("run/model.keras", "pets", settings={"data_dir": str(here / "pets")})
    assert of_the_run == ("the test part by run/split.json", 3)
    assert parts("run/model.keras", "pets", settings={"data_dir": "others"})[1] == 30
    given = ["m.keras", "pets", "--split-file", "run/split.json", "--split"]
    assert parts(*given, "train") == ("the train part by run/split.json", 24)
    assert parts("m.keras", "pets", "--split", "val") == ("the val part, a random one,", 3)
    with pytest.raises(ValueError, match="--split must be one of train, val, test. Received: x"):
        parts(*given, "x")
    split = json.loads((here / "run" / "split.json").read_text())
    del split["val"]
    (here / "few.json").write_text(json.dumps(split))
    assert parts("m.keras", "pets", "--split-file", "few.json")[1] == 3
    with pytest.raises(ValueError, match="few.json says nothing of 'val', only of 'train', 'test'"):
        parts("m.keras", "pets", "--split-file", "few.json", "--split", "val")
    with pytest.raises(FileNotFoundError, match="There is no file 'nothing.json'"):
        parts("m.keras", "pets", "--split-file", "nothing.json")


def test_a_link_to_the_model_of_a_run(here):
    """The first split that lies beside a link, or beside what it leads to."""
    write_files(here / "pets", *[f"{name}/{i}.png" for name in "abc" for i in range(10)])
    for folder in ("run", "store"):
        (here / folder).mkdir()
    (here / "store" / "blob").touch()
    (here / "run" / "model.keras").symlink_to("../store/blob")
    (here / "best.keras").symlink_to("run/model.keras")
    trained = {"data_dir": str(here / "pets")}
    assert parts("best.keras", "pets", settings=trained) == ("all photographs", 30)
    find_splits("pets", split_file=here / "run" / "split.json")
    find_splits("pets", split_file=here / "store" / "split.json", test_fraction=0.5)
    of_the_run = ("the test part by run/split.json", 3)
    assert parts("best.keras", "pets", settings=trained) == of_the_run
    assert parts("run/model.keras", "pets", settings=trained) == of_the_run
    (here / "run" / "split.json").unlink()
    part, count = parts("best.keras", "pets", settings=trained)
    assert part == "the test part by run/../store/split.json" and count == 15


def test_what_a_divided_folder_lacks_is_what_the_run_held_out(here):
    names = [f"{name}/{i}.png" for name in "abc" for i in range(10)]
    write_files(here / "pets", *(f"train/{name}" for name in names), *(f"val/{name}" for name in names[::2]))
    find_splits("pets", split_file=here / "run" / "split.json")
    trained = {"data_dir": "pets"}
    part, count = parts("run/model.keras", "pets", settings=trained)
    assert part == "the test part by run/split.json" and 0 < count < 30
    assert parts("run/model.keras", "pets", "--split", "val", settings=trained) == ("the val part", 15)
    with pytest.raises((FileNotFoundError, ValueError), match="test"):
        parts("run/model.keras", "pets", settings={"data_dir": "others"})


@pytest.mark.usefixtures("undrawn")
def test_a_model_without_class_names(models, photographs, here, capsys):
    assert main(["evaluate", str(models / "unnamed.keras"), str(photographs)]) == 0
    out = capsys.readouterr().out
    assert "The model does not name its classes: they are taken in the data's order." in out
    # blau, grün, rot in the data; red, green, blue in the model
    assert "33.3% of 3 photographs right" in out


def test_mistakes(models, here, capsys):
    write_photograph(here / "others" / "cat" / "1.png", (1, 2, 3))
    write_photograph(here / "others" / "dog" / "1.png", (1, 2, 3))
    assert evaluate(models, "others") == 2
    assert "error: No class of the data is one of the model's." in capsys.readouterr().err
    assert main(["evaluate", str(models / "unnamed.keras"), "others"]) == 2
    assert "3 classes without names, the data 2" in capsys.readouterr().err
    assert evaluate(models, "nowhere") == 2
    assert "error: No data set. Received: DATA='nowhere'" in capsys.readouterr().err
    (here / "others" / "rot").mkdir()
    (here / "others" / "rot" / "1.png").touch()
    assert evaluate(models, "others") == 1
    assert "None of the photographs could be read." in capsys.readouterr().err


def test_the_split_of_a_run_from_another_folder(here, monkeypatch):
    """The run says `pets`, which is a folder beside that of the runs, wherever somebody is now."""
    write_files(here / "a" / "pets", *[f"{name}/{i}.png" for name in "abc" for i in range(10)])
    find_splits("a/pets", split_file=here / "a" / "runs" / "pets" / "split.json")
    trained = {"data_dir": "pets"}
    model = "a/runs/pets/model.keras"
    assert parts(model, "a/pets", settings=trained)[1] == 3
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert parts(f"../{model}", "../a/pets", settings=trained)[1] == 3

    def remarks(folder):
        args = build_parser().parse_args(["evaluate", f"../{model}", folder])
        return find_samples(args, trained)[2]

    # Others of the same name are others as long as the run's own are there, also from beside them.
    shutil.copytree(here / "a" / "pets", here / "copy" / "pets")
    monkeypatch.chdir(here / "copy")
    assert parts(f"../{model}", "pets", settings=trained)[1] == 30
    assert "have namesakes here" in remarks("pets")[0]
    monkeypatch.chdir(here / "elsewhere")
    shutil.rmtree(here / "a" / "pets")
    assert parts(f"../{model}", "../copy/pets", settings=trained)[1] == 3
    assert "photographs are taken: ../a/runs/pets/split.json says" in remarks("../copy/pets")[0]
    # Another folder of that name above the run is not theirs.
    (here / "a" / "runs" / "pets" / "pets").mkdir()
    assert parts(f"../{model}", "../copy/pets", settings=trained)[1] == 3
    split = json.loads((here / "a" / "runs" / "pets" / "split.json").read_text())
    (here / "copy" / "pets" / split["train"][0]).unlink()
    with pytest.warns(UserWarning, match=f"1 photographs of other parts .*: {split['train'][0]}"):
        assert parts(f"../{model}", "../copy/pets", settings=trained)[1] == 3
    (here / "copy" / "pets" / split["test"][0]).unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 30 photographs .* Put them back. For another split"):
        parts(f"../{model}", "../copy/pets", settings=trained)
    write_files(here / "other" / "pets", *[f"{name}/x{i}.png" for name in "abc" for i in range(9)])
    assert parts(f"../{model}", "../other/pets", settings=trained) == ("all photographs", 27)

    # Of another name, they may be others whose files are called alike: nobody guesses.
    (here / "copy" / "pets").rename(here / "copy" / "animals")
    (remark,) = remarks("../copy/animals")
    assert "have namesakes here" in remark and "--split-file ../a/runs/pets/split.json" in remark
    (here / "other" / "pets").rename(here / "other" / "animals")
    assert remarks("../other/animals") == []
    (here / "a" / "runs" / "pets" / "split.json").write_text("{")
    assert remarks("../copy/animals") == []


def test_a_run_outside_the_folder_in_which_it_was_started(here, monkeypatch):
    write_files(here / "a" / "pets", *[f"{name}/{i}.png" for name in "abc" for i in range(10)])
    split_file = here / "run" / "split.json"
    tested = find_splits("a/pets", split_file=split_file)["test"].paths
    monkeypatch.chdir(here / "a")
    for name in "abc":
        for path in (here / "a" / "pets" / name).iterdir():
            if f"a/pets/{name}/{path.name}" not in tested:
                path.unlink()
    with pytest.warns(UserWarning, match="27 photographs of other parts"):
        assert parts("../run/model.keras", "pets", settings={"data_dir": "pets"})[1] == 3
    # A place at which nobody can look, as for lack of a permission: here, of too long a name.
    split_file.unlink()
    settings = {"data_dir": "x" * 300}
    assert parts("../run/model.keras", "pets", settings=settings)[0] == "all photographs"


def test_the_split_of_a_run_on_a_table_that_has_moved(here):
    names = [f"images/{name}{i}.png" for name in "abc" for i in range(10)]
    rows = ["path,label", *(f"{name},{name[7]}" for name in names)]
    for folder in ("a", "copy", "other"):
        write_files(here / folder, *names)
        (here / folder / "pets.csv").write_text("\n".join(rows))
    find_splits("a/pets.csv", split_file=here / "a" / "runs" / "pets" / "split.json")
    trained, model = {"data_dir": "pets.csv"}, "a/runs/pets/model.keras"
    assert parts(model, "a/pets.csv", settings=trained)[1] == 3
    (here / "a" / "pets.csv").unlink()
    assert parts(model, "copy/pets.csv", settings=trained)[1] == 3
    tested = json.loads((here / "a" / "runs" / "pets" / "split.json").read_text())["test"]
    rest = [row for row in rows if not row.startswith(tested[0])]
    (here / "copy" / "pets.csv").write_text("\n".join(rest))
    with pytest.raises(FileNotFoundError, match="1 of the 30 photographs .* Put them back"):
        parts(model, "copy/pets.csv", settings=trained)
    # A table of a few others beside the same photographs is not theirs.
    (here / "other" / "pets.csv").write_text("\n".join(["path,label", *rows[1:3], *rows[11:13]]))
    assert parts(model, "other/pets.csv", settings=trained) == ("all photographs", 4)

    def remarks(table):
        args = build_parser().parse_args(["evaluate", model, table])
        return find_samples(args, trained)[2]

    (here / "copy" / "pets.csv").rename(here / "copy" / "animals.csv")
    assert "have namesakes here" in remarks("copy/animals.csv")[0]
    (here / "other" / "pets.csv").rename(here / "other" / "animals.csv")
    assert remarks("other/animals.csv") == []


def test_photographs_that_a_model_was_trained_on(here):
    write_files(here / "pets", *[f"{name}/{i}.png" for name in "abc" for i in range(10)])
    args = build_parser().parse_args(["evaluate", "m.keras", "pets"])
    _, part, remarks = find_samples(args, {"data_dir": "pets"})
    assert part == "all photographs" and "trained on some of these photographs" in remarks[0]
    assert find_samples(args, {"data_dir": "others"})[2] == []


@pytest.mark.usefixtures("undrawn")
def test_in_the_folder_of_the_photographs(models, photographs, monkeypatch, capsys):
    """What one command writes is no class of the next."""
    monkeypatch.chdir(photographs)
    for left_out in ("", "holds results of cin_keras, no photographs, is left out: evaluation"):
        assert evaluate(models, ".") == 0
        out, err = capsys.readouterr()
        assert "all photographs of .: Samples(3 classes, 3 images" in out
        assert left_out in err and err.count("\n") == bool(left_out)
        assert "evaluation/photos/" in out


def test_figures_never_lie_among_photographs(models, photographs, capsys):
    for place in (photographs, photographs / "rot"):
        assert evaluate(models, str(photographs), "--output", str(place)) == 2
        assert "would lie among the photographs" in capsys.readouterr().err
    assert sorted(path.name for path in (photographs / "rot").iterdir()) == ["1 ü.png"]


@pytest.mark.usefixtures("undrawn")
def test_names_with_a_dot_keep_apart(models, here, capsys):
    for version in (1, 2):
        write_photograph(here / f"shop.v{version}" / "rot" / "1.png", COLOURS["rot"])
        write_photograph(here / f"shop.v{version}" / "grün" / "1.png", COLOURS["grün"])
        assert evaluate(models, f"shop.v{version}") == 0
        assert "holds an earlier run" not in capsys.readouterr().out
    assert {path.name for path in (here / "evaluation").glob("[!.]*")} == {"shop.v1", "shop.v2"}


@pytest.mark.usefixtures("undrawn")
def test_five_of_three_classes_say_nothing(models, photographs, here, capsys):
    assert evaluate(models, str(photographs)) == 0
    assert "within five" not in capsys.readouterr().out
    page = (here / "evaluation" / "photos" / "report.html").read_text("utf-8")
    assert "first five" not in page


def test_the_limit_of_pixels(models, photographs, here, monkeypatch, capsys):
    """Also where the mistakes are drawn: red is called blue here."""
    (photographs / "rot").rename(photographs / "x")
    (photographs / "blau").rename(photographs / "rot")
    (photographs / "x").rename(photographs / "blau")
    command = [str(photographs), "--output", "out", "--max-pixels"]
    assert evaluate(models, *command, "98") == 1
    assert "11×9 pixels are more than --max-pixels=98" in capsys.readouterr().err
    asked = []
    read = Samples.read
    monkeypatch.setattr(
        Samples,
        "read",
        lambda self, index, max_pixels=1, **size: (
            asked.append(max_pixels),
            read(self, index, max_pixels, **size),
        )[1],
    )
    assert evaluate(models, *command, "99") == 0
    assert set(asked) == {99}
