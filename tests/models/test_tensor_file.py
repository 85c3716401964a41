import collections
import hashlib
import os

import numpy as np
import pytest

from cin_keras.models.tensor_file import read_tensors

torch = pytest.importorskip("torch", reason="PyTorch writes the files to be read")


def write(path, value):
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_tensors_are_what_pytorch_wrote(tmp_path):
    numbers = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    written = collections.OrderedDict(
        whole=numbers,
        transposed=numbers.permute(2, 0, 1),
        part=numbers[1, 1:],
        count=torch.tensor(7),
    )
    read = read_tensors(*write(tmp_path / "a.pth", written))
    assert list(read) == list(written)
    for name, tensor in written.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())
        assert read[name].dtype == tensor.numpy().dtype


def test_another_file_is_not_opened(tmp_path):
    path, digest = write(tmp_path / "a.pth", {"a": torch.zeros(3)})
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="not the file that was expected.*Received: SHA-256"):
        read_tensors(path, digest)
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "b.pth", digest)


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("made-by-the-file",)


@pytest.mark.parametrize("value", [RunsCode(), {"a": RunsCode()}, {"a": torch.zeros(3).double()}])
def test_nothing_but_tensors_is_made(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="holds something else than tensors"):
        read_tensors(*write(tmp_path / "a.pth", value))
    assert os.listdir(tmp_path) == ["a.pth"]
