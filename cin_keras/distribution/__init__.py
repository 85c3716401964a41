"""Training on several devices at once: the same numbers as one device on the same global batch."""

from cin_keras.distribution.devices import Devices, distribute
