import numpy as np
import pytest
from PIL import Image

import cin_keras
from cin_keras.cli import explain, main
from tests.cli.conftest import write_photograph
from tests.models.networks import tiny_backbone, tiny_cin


@pytest.mark.every_backend(on_jax=False)  # on which tests/explain computes every map
def test_every_figure_of_every_photograph(models, tmp_path, capsys):
    paths = [write_photograph(tmp_path / name / "1.png", (9, 200, 70)) for name in "ab"]
    out = tmp_path / "out"
    code = main(["explain", str(models / "cin.keras"), *paths, "no.png", "--output", str(out)])
    assert code == 1
    kinds = ("decision", "channels", "ranking")
    expected = {f"{stem}-{kind}.png" for stem in ("1", "1-2") for kind in kinds}
    assert {path.name for path in out.glob("*.png")} == {*expected, "1-contrast.png"}
    for path in out.glob("*.png"):
        assert min(Image.open(path).size) > 100 and np.ptp(np.asarray(Image.open(path))) > 100
    shown, errors = capsys.readouterr()
    assert "cannot read 'no.png'" in errors
    for path in out.glob("*.png"):
        assert f"  {path}\n" in shown
    assert f"{paths[0]} against the next 1:" in shown


@pytest.mark.usefixtures("undrawn")
def test_figures_and_channels_that_were_asked_for(models, tmp_path, capsys):
    path = write_photograph(tmp_path / "1.png", (9, 200, 70))
    out = tmp_path / "out"
    common = [path, "--output", str(out)]
    assert main(["explain", str(models / "c.keras"), *common]) == 0
    assert [path.name for path in out.glob("*.png")] == ["1-decision.png"]
    assert "grün" in capsys.readouterr().out
    assert main(["explain", str(models / "c.keras"), *common, "--figure", "ranking"]) == 2
    assert "has decision to show. Received: --figure ranking" in capsys.readouterr().err
    assert main(["explain", str(models / "cin.keras"), *common, "--channel", "4"]) == 2
    assert "--channel must lie in 0..3. Received: 4" in capsys.readouterr().err
    command = ["explain", str(models / "cin.keras"), *common, "--figure", "channels"]
    assert main([*command, "--channel", "2"]) == 0
    assert sorted(path.name for path in out.glob("*.png")) == ["1-channels.png", "1-decision.png"]


@pytest.mark.usefixtures("undrawn")
def test_the_parts_of_an_nts_and_a_model_of_which_nothing_is_left(tmp_path, capsys):
    path, out = write_photograph(tmp_path / "1.png", (9, 200, 70)), str(tmp_path / "out")
    backbone = tiny_backbone(size=16)
    nts = cin_keras.NTS(3, backbone, input_shape=(16, 16, 3), parts=2, concatenated=1)
    nts.save(tmp_path / "nts.keras")
    assert main(["explain", str(tmp_path / "nts.keras"), path, "--output", out]) == 0
    assert [file.name for file in (tmp_path / "out").glob("*.png")] == ["1-parts.png"]
    osme = tiny_cin(interaction="osme", contrast="mamc", randomize=False)
    osme.save(tmp_path / "osme.keras")
    assert main(["explain", str(tmp_path / "osme.keras"), path, "--output", out]) == 2
    assert "contrast mamc has nothing to show" in capsys.readouterr().err


def test_a_contrast_needs_two_photographs(models, tmp_path, capsys):
    path = write_photograph(tmp_path / "1.png", (9, 200, 70))
    model, out = str(models / "cin.keras"), tmp_path / "out"
    options = ["--figure", "contrast", "--output", str(out)]
    assert main(["explain", model, path, *options]) == 2
    assert "give at least two that can be read. Received: 1" in capsys.readouterr().err
    assert not out.exists()
    assert main(["explain", model, path, "no.png", *options]) == 1
    assert "give at least two that can be read. Received: 1" in capsys.readouterr().err


def test_a_channel_without_its_figures(models, tmp_path, capsys):
    path = write_photograph(tmp_path / "1.png", (9, 200, 70))
    common = [path, "--channel", "1", "--output", str(tmp_path / "out")]
    assert main(["explain", str(models / "cin.keras"), *common, "--figure", "decision"]) == 2
    assert "--channel is for the figures channels and ranking" in capsys.readouterr().err
    assert main(["explain", str(models / "c.keras"), *common]) == 2
    assert "Received: --channel 1 for decision" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_figures_never_lie_among_photographs(models, tmp_path, capsys):
    write_photograph(tmp_path / "in" / "a" / "1.png", (9, 200, 70))
    command = ["explain", str(models / "c.keras"), str(tmp_path / "in"), "--output"]
    for place in ("in", "in/a"):
        assert main([*command, str(tmp_path / place)]) == 2
        assert "would lie among the photographs" in capsys.readouterr().err
    write_photograph(tmp_path / "others" / "2.png", (9, 200, 70))
    assert main([*command, str(tmp_path / "others")]) == 2
    assert "would lie among the photographs" in capsys.readouterr().err
    one = ["explain", str(models / "c.keras"), str(tmp_path / "in" / "a" / "1.png"), "--output"]
    assert main([*one, str(tmp_path / "in" / "a")]) == 2
    assert "would lie among the photographs" in capsys.readouterr().err
    assert main([*one, str(models / "c.keras")]) == 2
    assert "--output must be a folder that can be written (it is a file)" in capsys.readouterr().err
    for _ in range(2):  # what was written the first time is not explained the second time
        assert main([*command, str(tmp_path / "in" / "new")]) == 0
        assert capsys.readouterr().out.count("decision.png") == 1


def test_a_folder_of_notes_is_written_to_twice(models, tmp_path):
    photograph = write_photograph(tmp_path / "photos" / "1.png", (9, 200, 70))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / ".DS_Store").touch()
    (tmp_path / "figures" / "notes.txt").touch()
    other = write_photograph(tmp_path / "others" / "1.png", (200, 9, 70))
    for path in (photograph, other):
        command = ["explain", str(models / "c.keras"), path, "--figure", "decision"]
        assert main([*command, "--output", str(tmp_path / "figures")]) == 0
    # Figures of one photograph do not take the place of another's.
    (moved,) = (tmp_path / "figures").glob("earlier-*/1-decision.png")
    assert moved.read_bytes() != (tmp_path / "figures" / "1-decision.png").read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_other_files_is_written_to_twice(models, tmp_path, capsys):
    photograph = write_photograph(tmp_path / "photos" / "1.png", (9, 200, 70))
    (tmp_path / "figures" / "tables").mkdir(parents=True)
    (tmp_path / "figures" / "birds.csv").touch()
    command = ["explain", str(models / "c.keras"), photograph, "--output", str(tmp_path / "figures")]
    assert main(command) == main(command) == 0
    write_photograph(tmp_path / "figures" / "gull.png", (9, 200, 70))
    assert main(command) == 2
    assert "where 'gull.png' is" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_names_that_leave_no_room_or_differ_in_capitals(models, tmp_path):
    names = f"a{'ü' * 124}", "Gull", "gull"
    paths = [write_photograph(tmp_path / str(i) / f"{name}.png", (9, 200, 70)) for i, name in enumerate(names)]
    assert main(["explain", str(models / "c.keras"), *paths, "--output", str(tmp_path / "o")]) == 0
    begins = {path.name.removesuffix("-decision.png") for path in (tmp_path / "o").glob("*-decision.png")}
    assert begins == {f"a{'ü' * 99}", "Gull", "gull-2"}


def test_the_limit_of_pixels(models, tmp_path, capsys):
    path = write_photograph(tmp_path / "1.png", (9, 200, 70))
    command = ["explain", str(models / "c.keras"), path, "--output", str(tmp_path / "out")]
    assert main([*command, "--max-pixels", "98"]) == 1
    assert "11×9 pixels are more than --max-pixels=98" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_photograph_that_memory_does_not_hold(models, tmp_path, capsys, monkeypatch):
    paths = [write_photograph(tmp_path / f"{i}.png", (9, 200, 70)) for i in range(2)]
    read = explain.decode

    def limited(path, **kwargs):
        if path == paths[0]:
            raise MemoryError(f"Not enough memory to decode {path!r}")
        return read(path, **kwargs)

    monkeypatch.setattr(explain, "decode", limited)
    out = tmp_path / "out"
    assert main(["explain", str(models / "c.keras"), *paths, "--output", str(out)]) == 1
    assert f"cannot read {paths[0]!r}: there is not enough memory" in capsys.readouterr().err
    assert [path.name for path in out.glob("*-decision.png")] == ["1-decision.png"]
