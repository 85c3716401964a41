import warnings

import pytest

from cin_keras.evaluation.figures import curves, matrix, mistakes


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, in order."""
    saved = []
    for module in (curves, matrix, mistakes):

        def save_too(figure, path, save=module.save_figure):
            saved.append(figure)
            return save(figure, path)

        monkeypatch.setattr(module, "save_figure", save_too)
    return saved
