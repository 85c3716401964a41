import pathlib
import sys

from cin_keras.measuring import memory
from cin_keras.measuring.memory import bytes_of_python, memory_table

PRINTS = "import sys; print('MB:', 10 * len(sys.argv[2]) + int(sys.argv[4]))"


def test_every_figure_is_of_a_process_of_its_own(capsys):
    peaks = memory.measure_memory([sys.executable, "-c", PRINTS], ["a", "bb"], [1, 3])
    assert peaks == {"a": {1: 11, 3: 13}, "bb": {1: 21, 3: 23}}
    assert "4/4" in capsys.readouterr().err
    assert memory_table(peaks).splitlines()[2:] == ["| a | 11 | 13 |", "| bb | 21 | 23 |"]


def test_a_model_that_fails_is_a_gap(capsys):
    fails = [sys.executable, "-c", "import sys; sys.exit('no memory left')"]
    assert memory.measure_memory(fails, ["CIN"], [3]) == {"CIN": {3: None}}
    assert "CIN with 3 pairs failed (1): no memory left" in capsys.readouterr().out
    assert "| CIN | – |" in memory_table({"CIN": {3: None}})


def test_an_interruption_keeps_what_was_measured_so_far(monkeypatch, capsys):
    def last_number(command):
        if command[-1] == "2":
            raise KeyboardInterrupt
        return 100.0

    monkeypatch.setattr(memory, "last_number", last_number)
    assert memory.measure_memory([], ["CIN"], [1, 2, 4]) == {"CIN": {1: 100.0, 2: None, 4: None}}
    assert "gaps" in capsys.readouterr().out


def test_the_peak_of_a_process_is_what_linux_says(monkeypatch):
    status = "VmPeak:\t 9999 kB\nVmHWM:\t 2000 kB\nVmRSS:\t 1000 kB\n"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: status)
    assert memory.peak_resident_megabytes() == 2.048


def test_the_peak_of_a_process_where_there_is_no_linux(monkeypatch):
    here = memory.peak_resident_megabytes()

    def missing(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(pathlib.Path, "read_text", missing)
    # Of a child of pytest, its parent's may count.
    assert memory.peak_resident_megabytes() > 0.9 * here > 10


def test_bytes_of_python_objects():
    held, peak = bytes_of_python(
        lambda: [bytes(1000) for _ in range(20)], lambda made: bytes(50_000)
    )
    assert 20_000 < held < 25_000 and held + 50_000 <= peak < held + 60_000
