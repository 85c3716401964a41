import collections
import fcntl
import gc
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


def pytest_runtest_teardown(item, nextitem):
    """After every file, Python's collector is told that what is still there stays.

    Keras calls it often, and it would look at all of TensorFlow each time.
    """
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_collection_finish():
    gc.collect()
    gc.freeze()


CASES_ON_JAX = 2


def pytest_collection_modifyitems(config, items):
    """On TensorFlow every test runs, on the other backends those whose code reaches Keras'.

    JAX compiles every shape of a test's cases anew: it gets the first two of them, unless the
    marker says `all_cases=True`, as where each case is a thing of its own.
    """
    backend, cases = keras.backend.backend(), collections.Counter()

    def is_wanted(item):
        if backend == "tensorflow":
            return True
        marker = item.get_closest_marker("every_backend")
        if marker is None:
            return False
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        few = backend == "jax" and not marker.kwargs.get("all_cases")
        return not few or cases[test] <= CASES_ON_JAX

    wanted = [is_wanted(item) for item in items]
    config.hook.pytest_deselected(items=[i for i, kept in zip(items, wanted) if not kept])
    items[:] = [item for item, kept in zip(items, wanted) if kept]
