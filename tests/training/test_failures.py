
import pytest
import tensorflow as tf

from cin_keras.files import RESULTS_MARK, check_writable
from cin_keras.training.failures import accident, mistake, mistakes_in_one_sentence, out_of_memory
from tests import processes


@pytest.mark.parametrize("error", [ValueError("Three is none."), OSError("Three is none.")])
def test_a_mistake_ends_in_one_sentence(error):
    with pytest.raises(SystemExit, match="^error: Three is none.$"):
        with mistakes_in_one_sentence():
            raise error


def test_nobody_reading_is_neither_a_mistake_nor_an_accident():
    gone = BrokenPipeError(32, "Broken pipe")
    assert mistake(gone) is None and accident(gone) is None
    assert mistake(OSError("disk")) == accident(OSError("disk")) == "disk"
    assert mistake(MemoryError("It does not fit.")) == "It does not fit."


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8,64]"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8000000 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        MemoryError("Unable to allocate 3.00 GiB for an array with shape (9, 9)"),
    ],
)
def test_too_little_memory_on_any_backend(error):
    settings = {"pairs_per_batch": 16, "image_size": 448, "epochs": 3}
    sentence = "There is not enough memory with `pairs_per_batch=16` and `image_size=448`: lower one of them."
    assert mistake(error, settings) == accident(error, settings) == sentence
    assert out_of_memory(error) == (
        "There is not enough memory: take fewer images at a time, or smaller ones."
    )


def test_what_else_lacks_memory_or_room_says_so_itself():
    own = MemoryError("Not enough memory to decode 'a.jpg'")
    assert mistake(own) == accident(own) == str(own)
    full = tf.errors.ResourceExhaustedError(None, None, "model; No space left on device")
    assert out_of_memory(full) is None
    inside = tf.errors.ResourceExhaustedError(None, None, f"MemoryError: {own}\n\n\t [[PyFunc]]")
    assert accident(inside) == str(own)


def test_a_defect_keeps_its_traceback():
    with pytest.raises(KeyError):
        with mistakes_in_one_sentence():
            raise KeyError("defect")


def test_a_folder_under_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        check_writable(tmp_path / "file" / "run")
    check_writable(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [RESULTS_MARK]


def test_accidents_end_the_process_with_their_sentence():
    script = """
import tensorflow as tf
from cin_keras.training.failures import accidents_in_one_sentence
def read(x):
    from cin_keras.data import UnreadableImage
    raise UnreadableImage("cat.jpg", "the file is empty")
print("started")
with accidents_in_one_sentence():
    next(iter(tf.data.Dataset.range(1).map(lambda x: tf.py_function(read, [x], tf.int64))))
"""
    # Without KERAS_BACKEND: the sentence is the same on every backend.
    done = processes.run("-c", script)
    assert done.returncode == 1 and done.stdout == "started\n"
    assert done.stderr.splitlines()[-1].startswith("error: Cannot decode 'cat.jpg'"), done.stderr
    assert "Traceback" not in done.stderr.split("error: ")[-1]
