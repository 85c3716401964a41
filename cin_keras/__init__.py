"""Channel Interaction Networks for fine-grained image recognition, in Keras 3."""

from cin_keras import data, layers, losses

__version__ = "0.1.0"
