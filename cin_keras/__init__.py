"""Channel Interaction Networks for fine-grained image recognition, in Keras 3."""

from cin_keras import callbacks, data, explain, layers, losses, metrics, models, optimizers
from cin_keras.models import CIN, load_model

__version__ = "0.1.0"
