import numpy as np
import pytest
from PIL import Image

from cin_keras.cli import main
from tests.cli.conftest import write_photograph


@pytest.mark.every_backend
def test_every_figure_of_every_photograph(models, tmp_path, capsys):
    paths = [write_photograph(tmp_path / name / "1.png", (9, 200, 70)) for name in "ab"]
    out = tmp_path / "out"
    code = main(["explain", str(models / "cin.keras"), *paths, "no.png", "--output", str(out)])
    assert code == 1
    kinds = ("decision", "channels", "ranking")
    expected = {f"{stem}-{kind}.png" for stem in ("1", "1-2") for kind in kinds}
    assert {path.name for path in out.iterdir()} == {*expected, "1-contrast.png"}
    for path in out.iterdir():
        assert min(Image.open(path).size) > 100 and np.ptp(np.asarray(Image.open(path))) > 100
    shown, errors = capsys.readouterr()
    assert "cannot read 'no.png'" in errors
    for path in out.iterdir():
        assert f"  {path}\n" in shown
    assert f"{paths[0]} against the next 1:" in shown


def test_figures_and_channels_that_were_asked_for(models, tmp_path, capsys):
    path = write_photograph(tmp_path / "1.png", (9, 200, 70))
    out = tmp_path / "out"
    common = [path, "--output", str(out)]
    assert main(["explain", str(models / "c.keras"), *common]) == 0
    assert [path.name for path in out.iterdir()] == ["1-decision.png"]
    assert "grün" in capsys.readouterr().out
    assert main(["explain", str(models / "c.keras"), *common, "--figure", "ranking"]) == 2
    assert "has decision to show. Received: --figure ranking" in capsys.readouterr().err
    assert main(["explain", str(models / "cin.keras"), *common, "--channel", "4"]) == 2
    assert "--channel must lie in 0..3. Received: 4" in capsys.readouterr().err
    command = ["explain", str(models / "cin.keras"), *common, "--figure", "channels"]
    assert main([*command, "--channel", "2"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["1-channels.png", "1-decision.png"]
