"""The Channel Interaction Network and its backbones."""

from cin_keras.models.backbones import backbone_names
from cin_keras.models.channel_interaction_network import CIN
from cin_keras.models.default_recipe import TRAINING_RATES
from cin_keras.models.load import load_model
