import errno
import json

import pytest

from cin_keras.files import whole_file, write_json, write_text
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
    with pytest.raises(OSError, match="nowhere.numbers.txt' cannot be written .No such file"):
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
