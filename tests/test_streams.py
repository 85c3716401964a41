import io
import os
import pathlib
import subprocess
import sys
import warnings

import pytest

import cin_keras
from cin_keras import streams
from cin_keras.streams import (
    one_line,
    one_line_warnings,
    open_standard_streams,
    tidy_streams,
)
from cin_keras.training import open_run
from tests.recipe_runs import load_recipe


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


class Ended(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def ends(monkeypatch):
    def stop(message, status=130):
        raise Ended(message, status)

    monkeypatch.setattr(streams, "stop", stop)


def nobody_reads(arguments=None):
    warnings.warn("Two\nlines.", stacklevel=1)
    raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_that_nobody_reads_of_ends(tmp_path, ends, capsys, begun):
    with pytest.raises(Ended) as ended, open_run(tmp_path, {}) as run:
        run.watch.begun = begun
        nobody_reads()
    assert ended.value.args == (None, 141)
    said = "\nNobody reads what this run prints, so it ends; --resume goes on.\n" if begun else ""
    assert capsys.readouterr().err == f"warning: Two lines.\n{said}"


def test_ctrl_c_is_said(ends):
    with pytest.raises(Ended) as ended, tidy_streams():
        raise KeyboardInterrupt
    assert ended.value.args == ("\nInterrupted.", 130)


@pytest.mark.parametrize("name", ["explain", "ablation", "probe", "benchmark", "benchmark_data"])
def test_recipes_that_measure_are_as_tidy(ends, monkeypatch, capsys, name):
    recipe = load_recipe(name)
    monkeypatch.setattr(recipe, "parse_arguments", nobody_reads)
    with pytest.raises(Ended) as ended:
        recipe.main([])
    assert ended.value.args == (None, 141)
    assert capsys.readouterr().err == "warning: Two lines.\n"


def test_streams_show_every_name_and_write_all_of_it(monkeypatch):
    class Stream(io.TextIOWrapper):
        flushed = False

        def flush(self):
            self.flushed = True
            super().flush()

    out = Stream(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with tidy_streams():
        print("grün")
    assert out.flushed and out.buffer.getvalue() == b"gr\\xfcn\n"


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
