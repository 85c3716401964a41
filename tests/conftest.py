import keras
import pytest

from tests.data.small_sets import write_stanford_cars


@pytest.fixture
def stanford_cars_folder(tmp_path):
    """A folder in the layout of Stanford Cars: 3 classes, 6 training and 4 test photographs."""
    return write_stanford_cars(tmp_path / "stanford_cars")


def pytest_collection_modifyitems(items):
    """What never reaches Keras' backend is run once, on TensorFlow."""
    if keras.backend.backend() == "tensorflow":
        return
    for item in items:
        if item.get_closest_marker("one_backend"):
            item.add_marker(pytest.mark.skip(reason="the same on every backend: run on TensorFlow"))
