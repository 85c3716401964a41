"""The Channel Interaction Network, NTS, and their backbones."""

from cin_keras.models.backbones import backbone_names
from cin_keras.models.channel_interaction_network import CIN
from cin_keras.models.default_recipe import TRAINING_RATES
from cin_keras.models.load import load_model
from cin_keras.models.navigator_teacher_scrutinizer import NTS
from cin_keras.models.whitening import Whitening
