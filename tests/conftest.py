import keras
import pytest

from tests.data.small_sets import write_stanford_cars


@pytest.fixture
def stanford_cars_folder(tmp_path):
    """A folder in the layout of Stanford Cars: 3 classes, 6 training and 4 test photographs."""
    return write_stanford_cars(tmp_path / "stanford_cars")


def pytest_collection_modifyitems(config, items):
    """On TensorFlow every test runs, on the other backends those whose code reaches Keras'."""
    if keras.backend.backend() == "tensorflow":
        return
    others = [item for item in items if not item.get_closest_marker("every_backend")]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item.get_closest_marker("every_backend")]
