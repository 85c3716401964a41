import pytest

from tests.data.small_sets import write_stanford_cars


@pytest.fixture
def stanford_cars_folder(tmp_path):
    """A folder in the layout of Stanford Cars: 3 classes, 6 training and 4 test photographs."""
    return write_stanford_cars(tmp_path / "stanford_cars")
