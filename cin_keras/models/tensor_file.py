"""Files of tensors as PyTorch wrote them until 2020, read without PyTorch."""

import collections
import hashlib
import pathlib
import pickle
import typing

import numpy as np

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read_tensors(path, sha256):
    """The tensors of a file, by name.

    A pickle can run any code. Here it is read only if it is the very file that was expected, and
    then by a reader that makes dictionaries and tensors and nothing else.

    Args:
        path: Str or path of a file that `torch.save` wrote in its format before 1.6.
        sha256: Str of 64 hexadecimal digits, the SHA-256 of the file.

    Returns:
        Dict from str to array, in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another file, or holds anything but tensors.

    Example:

    ```python
    tensors = read_tensors("efficientnet-lite0-57934424.pth", sha256="579344248a93e230…")
    tensors["_fc.weight"].shape  # (1000, 1280)
    ```
    """
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ValueError(
                f"{str(path)!r} is not the file that was expected: install its package anew. "
                f"Received: SHA-256 {found}. Expected: {sha256}"
            )
        file.seek(0)
        try:
            return _read(file)
        except (pickle.UnpicklingError, EOFError, TypeError, IndexError, KeyError) as error:
            raise ValueError(f"{str(path)!r} holds something else than tensors: {error}") from error


def _read(file):
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (_MAGIC, _PROTOCOL):
        raise pickle.UnpicklingError("its first numbers are not those of PyTorch before 1.6")
    _Unpickler(file).load()  # sizes of numbers on the machine that wrote it
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    storages = {}
    for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        dtype, expected = unpickler.storages[key]
        if count != expected:
            raise pickle.UnpicklingError(f"storage {key} has {count} numbers, not {expected}")
        data = file.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            raise EOFError("the file ends too early")
        storages[key] = np.frombuffer(data, dtype, count)
    return {name: tensor.read(storages) for name, tensor in tensors.items()}


class _Tensor(typing.NamedTuple):
    """A tensor whose numbers come later in the file."""

    key: str
    offset: int
    shape: tuple
    strides: tuple

    def read(self, storages):
        numbers = storages[self.key]
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides))
        if self.offset < 0 or min(self.strides, default=0) < 0 or not last < len(numbers):
            raise pickle.UnpicklingError(f"{self} does not lie in its {len(numbers)} numbers")
        strides = [step * numbers.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides)


class _Unpickler(pickle.Unpickler):
    """Knows three names: a dictionary, a tensor, and a storage of each kind of number."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, shape, strides, *_: _Tensor(key, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, identity):
        kind, dtype, key, _, count, _ = identity
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"a reference to {kind!r}")
        self.storages[key] = dtype, count
        return key
