"""Every example in a docstring runs and gives what it says."""

import doctest
import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest

import cin_keras

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(cin_keras.__path__, "cin_keras.")
    if not module.ispkg
)


# Whose examples compute with tensors of the backend themselves; the others do so through these. The
# other backends see one of them, and the layers in tests of their own.
OF_TENSORS = ("cin_keras.layers.", "cin_keras.losses", "cin_keras.metrics", "cin_keras.optimizers")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.every_backend)
        if name.startswith(OF_TENSORS)
        else name
        for name in MODULES
    ],
)
def test_examples(name):
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(
        module, globs={**vars(module), "cin_keras": cin_keras, "keras": keras, "np": np}
    ):
        runner = doctest.DocTestRunner(verbose=False)
        output = []
        runner.run(test, out=output.append)
        assert runner.failures == 0, "".join(output)


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for key, value in vars(module).items():
        if getattr(value, "__module__", None) == name and not key.startswith("_"):
            if inspect.isclass(value) or inspect.isfunction(value):
                assert value.__doc__, f"{name}.{key}"
