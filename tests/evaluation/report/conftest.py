import pytest

from cin_keras.evaluation import write_report
from tests.evaluation.report.pages import Page, material, tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture(scope="session")
def report(model, tmp_path_factory):
    """A page with everything in it: its path, what is in it, and what went into it."""
    inputs = material()
    path = write_report(tmp_path_factory.mktemp("report") / "report.html", model=model, **inputs)
    return path, Page(path.read_text("utf-8")), inputs
