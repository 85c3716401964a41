import fcntl
import os
import shutil

import keras
import pytest

from tests.data.small_sets import write_stanford_cars


@pytest.fixture
def stanford_cars_folder(tmp_path):
    """A folder in the layout of Stanford Cars: 3 classes, 6 training and 4 test photographs."""
    return write_stanford_cars(tmp_path / "stanford_cars")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """`made_once(name, make)` is a folder that `make(folder)` fills, once for all the processes
    of pytest-xdist."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def made(name, make):
        folder = shared / name
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                folder.mkdir()
                try:
                    make(folder)
                except BaseException:
                    shutil.rmtree(folder)
                    raise
        return folder

    return made


def pytest_collection_modifyitems(config, items):
    """On TensorFlow every test runs, on the other backends those whose code reaches Keras'."""
    if keras.backend.backend() == "tensorflow":
        return
    others = [item for item in items if not item.get_closest_marker("every_backend")]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item.get_closest_marker("every_backend")]
