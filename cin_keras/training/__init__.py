"""What the recipes and the command line share: one training run from options to results."""

from cin_keras.training.devices import devices_of
from cin_keras.training.failures import mistakes_in_one_sentence
from cin_keras.training.options import recipe_parser, settle
from cin_keras.training.run import Run
