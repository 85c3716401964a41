"""What recipes and the command line share: options, a run's folder, and how a run ends."""

import importlib

from cin_keras.training.options import recipe_parser, settle

_LOADS_KERAS = {
    "open_run": "run",
    "RunFolder": "run_folder",
    "make_optimizer": "network",
    "network_options": "network",
    "optimizer_options": "network",
    "mix": "network",
    "set_seed": "network",
    "single_images": "network",
    "mistakes_in_one_sentence": "failures",
}


def __getattr__(name):
    # Not before it is asked for: the command line reads its options without Keras.
    if name in _LOADS_KERAS:
        return getattr(importlib.import_module(f"{__name__}.{_LOADS_KERAS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
