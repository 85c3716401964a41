import os
import re
import subprocess
import sys

import pytest

import cin_keras
from cin_keras.cli import main, parser
from cin_keras.data import decoding

COMMANDS = ["train", "predict", "evaluate", "index", "search", "explain", "export", "info", "card"]


def test_help_comes_before_keras(tmp_path):
    """`-X importtime` lists every module that is imported."""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(cin_keras.__path__[0])}
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cin_keras", "train", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0 and "usage: cin-keras train FOLDER" in ended.stdout
    modules = {line.split("|")[-1].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "argparse" in modules
    assert not modules & {"keras", "tensorflow", "jax", "torch", "numpy", "matplotlib"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_there_is(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: cin-keras {command}")
    assert max(map(len, text.splitlines())) <= 80
    described = re.findall(r"^  -\S.*?(?:  +|\n +)[^\s-]", text, re.MULTILINE)
    assert len(described) == text.count("\n  -") >= 1, "each option has a few words"


def test_without_a_command_there_is_help(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == "" and all(f"    {command} " in err for command in COMMANDS)


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cin-keras {cin_keras.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["teach"], "invalid choice: 'teach'"),
        (["predict", "model.keras"], "required: PATH"),
        (
            ["explain", "m.keras", "a.jpg", "--channel", "-1"],
            "argument --channel: must be a whole number of at least 0: '-1'",
        ),
        (
            ["predict", "m.keras", "a.jpg", "--min-confidence", "90"],
            "argument --min-confidence: must be a number from 0 to 1: '90'",
        ),
    ],
)
def test_mistakes(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_every_public_name_is_there_without_loading_it_first():
    for name in cin_keras._PACKAGES:
        assert getattr(cin_keras, name) is cin_keras.__getattr__(name)
    assert cin_keras.__getattr__("CIN") is cin_keras.CIN
    with pytest.raises(AttributeError, match="no attribute 'NIC'"):
        cin_keras.NIC  # noqa: B018


def test_the_limit_of_pixels_is_that_of_decoding():
    assert parser.MAX_PIXELS == decoding.MAX_PIXELS
