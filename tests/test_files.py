import errno
import json
import os
import shutil
import stat
import threading

import pytest

from cin_keras.files import (
    check_writable,
    move_aside,
    remove_partial,
    seen_from,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)
from tests.callbacks.no_room import no_room_beyond


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "numbers.txt"
    for text in ("1", "2"):
        with whole_file(path) as partial:
            partial.write_text(text)
            assert partial.parent == tmp_path and partial.suffix == ".txt"
            assert not path.exists() or path.read_text() == "1"
        assert path.read_text() == text
    assert names(tmp_path) == ["numbers.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("other"), OSError("broken")])
def test_a_failure_leaves_the_file_of_before(tmp_path, error):
    path = tmp_path / "numbers.txt"
    path.write_text("1")
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind), whole_file(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "1" and names(tmp_path) == ["numbers.txt"]


def test_a_missing_folder_is_one_sentence(tmp_path):
    path = tmp_path / "nowhere" / "numbers.txt"
    with pytest.raises(OSError, match="nowhere.numbers.txt' cannot be written: there is no folder"):
        with whole_file(path) as partial:
            partial.write_text("1")


def test_no_room_is_one_sentence(tmp_path):
    path = tmp_path / "numbers.bin"
    path.write_bytes(b"1")
    with no_room_beyond(1000), pytest.raises(OSError) as caught, whole_file(path) as partial:
        partial.write_bytes(b"2" * 2000)
    assert caught.value.__cause__.errno == errno.EFBIG
    message = str(caught.value)
    assert "cannot be written (File too large); the file of before is there, whole" in message
    assert path.read_bytes() == b"1" and names(tmp_path) == ["numbers.bin"]


def test_text_and_json_are_written_whole(tmp_path):
    assert write_text(tmp_path / "table.md", "± μ").read_bytes() == "± μ".encode()
    path = write_json(tmp_path / "scores.json", {"accuracy": 0.5})
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    with pytest.raises(TypeError):
        write_json(path, {"accuracy": object()})
    assert json.loads(path.read_text()) == {"accuracy": 0.5}
    assert names(tmp_path) == ["scores.json", "table.md"]


# === Links, devices and pipes ===


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "numbers.txt").write_text("1")
    for link, target in [("link.txt", "there/numbers.txt"), ("dangling.txt", "there/new.txt")]:
        (tmp_path / link).symlink_to(target)
        with whole_file(tmp_path / link) as partial:
            partial.write_text("2")
            assert partial.parent == tmp_path / "there"
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / target).read_text() == "2"
    assert names(tmp_path / "there") == ["new.txt", "numbers.txt"]
    (tmp_path / "itself").symlink_to("itself")
    with pytest.raises(OSError, match="itself' cannot be written .Too many levels"):
        with whole_file(tmp_path / "itself") as partial:
            partial.write_text("1")
    assert (tmp_path / "itself").is_symlink()


def test_the_mode_of_the_file_of_before_stays(tmp_path):
    path = tmp_path / "private.txt"
    path.touch(mode=0o600)
    with whole_file(path) as partial:
        partial.write_text("1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("linked", [False, True])
def test_a_device_stays_one(tmp_path, linked):
    path = tmp_path / "link" if linked else os.devnull
    if linked:
        path.symlink_to(os.devnull)
    before = os.stat(os.devnull)
    with whole_file(path) as partial:
        partial.write_text("1")
    with pytest.raises(ValueError), whole_file(path) as partial:
        raise ValueError
    assert os.stat(os.devnull) == before and stat.S_ISCHR(before.st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_device_that_is_full_is_one_sentence():
    with pytest.raises(OSError, match="^'/dev/full' cannot be written .No space left[^;]*$"):
        with whole_file("/dev/full") as partial:
            partial.write_text("1")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    thread = threading.Thread(target=lambda: read.append(pipe.read_text()))
    thread.start()
    with whole_file(pipe) as partial:
        partial.write_text("1 2 3")
    thread.join()
    assert read == ["1 2 3"] and stat.S_ISFIFO(pipe.stat().st_mode) and names(tmp_path) == ["pipe"]


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no such name here")
def test_standard_output_by_its_name(capfd):
    # Here it is a file that pytest reads afterwards: were it replaced, nothing would arrive.
    with whole_file("/dev/stdout") as partial:
        partial.write_text("1 2 3")
    assert capfd.readouterr().out == "1 2 3" and os.path.islink("/dev/stdout")


# === Several at a time ===


def test_writers_at_a_time_do_not_share_a_file(tmp_path):
    path = tmp_path / f"{'ü' * 120}.txt"  # as long as a name may be
    with whole_file(path) as first:
        first.write_text("1")
        with whole_file(path) as second:
            second.write_text("2")
        assert path.read_text() == "2"
    assert path.read_text() == "1" and names(tmp_path) == [path.name]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    for name in ("a.1.partial.txt", "b.1.partial.txt", "a.1.partial.csv", "a.txt"):
        (tmp_path / name).touch()
    (tmp_path / "a.2.partial.txt").mkdir()
    remove_partial(tmp_path / "a.txt")
    assert names(tmp_path) == ["a.1.partial.csv", "a.txt", "b.1.partial.txt"]
    remove_partial(tmp_path / "nowhere" / "a.txt")


def test_two_that_begin_in_one_second_move_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda pattern: "earlier-")
    check_writable(tmp_path)
    for text in ("1", "2"):
        (tmp_path / "metrics.json").write_text(text)
        move_aside(tmp_path, ["metrics.json", "*.csv"])
    found = sorted(path.read_text() for path in tmp_path.glob("earlier-*/metrics.json"))
    assert found == ["1", "2"] and not (tmp_path / "metrics.json").exists()


def test_what_was_moved_aside_is_for_whom_the_folder_is(tmp_path):
    for mode in (0o755, 0o700):
        tmp_path.chmod(mode)
        (tmp_path / "metrics.json").touch()
        move_aside(tmp_path, ["metrics.json"])
        (place,) = tmp_path.glob("earlier-*")
        assert place.stat().st_mode & 0o777 == mode
        shutil.rmtree(place)


# === Folders ===


def test_what_lies_on_another_drive_is_seen_whole(tmp_path, monkeypatch):
    def fail(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    assert seen_from(tmp_path / "runs", tmp_path / "cars" / "1.jpg") == os.path.join("..", "cars", "1.jpg")
    monkeypatch.setattr("os.path.relpath", fail)
    assert seen_from("runs", "cars") == os.path.abspath("cars")


def test_a_folder_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "model"
    for text in ("1", "2"):
        with whole_folder(path) as partial:
            partial.mkdir()
            (partial / text).touch()
            assert not path.exists() or names(path) == ["1"]
        assert names(path) == [text]
    with pytest.raises(ValueError), whole_folder(path) as partial:
        partial.mkdir()
        raise ValueError
    assert names(path) == ["2"] and names(tmp_path) == ["model"]


def test_the_folder_of_before_stays_until_the_new_one_is_in_its_place(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "1").touch()
    rename = os.rename

    def fail(source, target):
        if os.path.exists(os.path.join(source, "2")):  # the new one
            assert len(names(tmp_path)) == 2
            raise OSError(errno.EIO, "broken")
        rename(source, target)

    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(OSError, match="cannot be written"), whole_folder(path) as partial:
        partial.mkdir()
        (partial / "2").touch()
    assert names(path) == ["1"] and names(tmp_path) == ["model"]
