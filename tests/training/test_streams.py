import os
import pathlib
import subprocess
import sys
import warnings

import pytest

import cin_keras
from cin_keras.training import streams
from cin_keras.training.streams import one_line, one_line_warnings, open_standard_streams


def test_files_never_get_the_numbers_of_closed_streams(tmp_path):
    """Without Keras, which a process of its own would have to load."""
    script = f"""
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("streams", {streams.__file__!r})
streams = importlib.util.module_from_spec(spec)
spec.loader.exec_module(streams)
streams.open_standard_streams()
print("out")
print("err", file=sys.stderr)
assert sys.stdin.read() == ""
number = os.open("found", os.O_CREAT | os.O_WRONLY)
os.write(1, b"library")
os.write(2, b"library")
os.write(number, str(number).encode())
"""
    (tmp_path / "script.py").write_text(script)
    command = f"{sys.executable} script.py <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=tmp_path).returncode == 0
    assert int((tmp_path / "found").read_text()) > 2


def test_streams_that_are_there_stay(monkeypatch):
    before = sys.stdin, sys.stdout, sys.stderr
    open_standard_streams()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


def test_a_warning_is_one_line(capsys):
    before = warnings.showwarning
    with one_line_warnings():
        warnings.warn("Two images\n   are left out.", stacklevel=1)
    assert capsys.readouterr().err == "warning: Two images are left out.\n"
    assert warnings.showwarning is before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("grün 猫 a\u00a0b.jpg", "grün 猫 a\u00a0b.jpg"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m\x85", "\\x1b[31m\\x85"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        (pathlib.PurePath("a/b"), "a/b"),
    ],
)
def test_one_line(text, shown):
    assert one_line(text) == shown


@pytest.mark.parametrize(("closed", "arguments"), [("stdout", ["--help"]), ("stderr", [])])
def test_the_end_is_quiet_where_nobody_reads(closed, arguments):
    """Help, for which Keras is not loaded; the pipe has no reader any more."""
    read, write = os.pipe()
    os.close(read)
    other = "stderr" if closed == "stdout" else "stdout"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(cin_keras.__path__[0])}
    environment.pop("PYTHONUNBUFFERED", None)  # with it, argparse hears of it, and is silent
    ended = subprocess.run(
        [sys.executable, "-m", "cin_keras", *arguments],
        env=environment,
        text=True,
        **{closed: write, other: subprocess.PIPE},
    )
    os.close(write)
    assert (ended.returncode, getattr(ended, other)) == (streams.READER_GONE, "")
