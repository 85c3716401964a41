"""Files of tensors as PyTorch wrote them until 2020, read without PyTorch."""

import collections
import hashlib
import pathlib
import pickle

import numpy as np

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
        except pickle.UnpicklingError as error:
            raise ValueError(f"{str(path)!r} holds something else than tensors: {error}") from error


def _read(file):
    for _ in range(3):  # numbers that tell the format, and sizes on the machine that wrote it
        _Unpickler(file).load()
    unpickler, storages = _Unpickler(file), {}
    tensors = unpickler.load()
    for key in _Unpickler(file).load():
        dtype, count = unpickler.storages[key]
        file.read(8)  # the count once more
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)

    def read(key, offset, shape, strides):
        numbers = storages[key][offset:]
        strides = [step * numbers.itemsize for step in strides]
        return np.lib.stride_tricks.as_strided(numbers, shape, strides)

    return {name: read(*tensor) for name, tensor in tensors.items()}


class _Unpickler(pickle.Unpickler):
    """Knows three names: a dictionary, a tensor, and a storage of each kind of number."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: arguments[:4]  # whose numbers come later in the file
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, identity):
        _, dtype, key, _, count, _ = identity
        self.storages[key] = dtype, count
        return key
