"""Runs of a recipe inside the process of the tests, where TensorFlow is imported already."""

import contextlib
import importlib.util
import io
import pathlib
import runpy
import sys

import pytest

from cin_keras.files import RESULTS_MARK


def run_here(recipe, *arguments, folder):
    """Runs a recipe up to its `sys.exit`; for mistakes, which end a recipe before it trains.

    Args:
        recipe: Path of the script.
        arguments: Its command line.
        folder: Folder in which it runs.

    Returns:
        Its exit status, and what it printed.
    """
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(recipe.parent)
        patch.setattr(sys, "argv", [str(recipe), *arguments])
        patch.setenv("STANFORD_CARS_DIR", "")
        patch.setenv("COLUMNS", "80")
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            try:
                runpy.run_path(str(recipe), run_name="__main__")
            except SystemExit as end:
                if isinstance(end.code, str):
                    print(end.code)
                    return 1, output.getvalue()
                return end.code or 0, output.getvalue()
    return 0, output.getvalue()


def load_recipe(name):
    """The module of a script in `recipes/`, whose `main([...])` can be called."""
    path = pathlib.Path(__file__).parent.parent / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)  # one recipe may call another
        spec.loader.exec_module(module)
    return module


def draw_nothing(patch):
    """Has Matplotlib write white squares in place of its PNG files; `patch` is a `MonkeyPatch`."""
    from matplotlib.figure import Figure
    from PIL import Image

    save = Figure.savefig

    def savefig(figure, file, *, format=None, **options):
        if format == "png":
            Image.new("L", (9, 9), 255).save(file, "PNG")
        else:  # the curves of a report are text, which is looked at
            save(figure, file, format=format, **options)

    patch.setattr(Figure, "savefig", savefig)


def written(folder):
    """Set of the names in a folder of results, without the mark that it is one."""
    return {path.name for path in folder.iterdir()} - {RESULTS_MARK}
