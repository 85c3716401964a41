"""Layers of the Channel Interaction Network, each usable inside any Keras network."""

from cin_keras.layers.contrastive_channel_interaction import ContrastiveChannelInteraction
from cin_keras.layers.self_channel_interaction import SelfChannelInteraction
