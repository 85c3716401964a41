import io
import sys

import pytest

from cin_keras.cli.output import report_unreadable
from cin_keras.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, count=3, **kwargs):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(count, "image", **kwargs) as bar:
        for _ in range(count):
            bar.update()
    return stream.getvalue()


@pytest.mark.parametrize(
    "stream, wanted, is_shown",
    [
        (Terminal, None, True),
        (Terminal, True, True),
        (Terminal, False, False),
        (io.StringIO, None, False),
        (io.StringIO, True, True),
        (io.StringIO, False, False),
    ],
)
def test_a_bar_if_it_is_wanted_or_somebody_looks(monkeypatch, stream, wanted, is_shown):
    text = shown(monkeypatch, stream(), wanted=wanted)
    assert ("3/3" in text and "images" in text) if is_shown else text == ""


def test_no_bar_for_nothing(monkeypatch):
    assert shown(monkeypatch, Terminal(), count=0) == ""
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(2, "image") as bar:
        bar.update()


def test_a_message_does_not_run_into_the_bar(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(3, "image") as bar:
        bar.update()
        report_unreadable("a.jpg", "the file is empty")
    before, _, after = stream.getvalue().partition("cannot read 'a.jpg': the file is empty\n")
    assert before.endswith("\r") and after.startswith("\r")
