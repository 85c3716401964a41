"""Layers of the Channel Interaction Network and of what it is compared with.

Each is usable inside any Keras network.
"""

from cin_keras.layers.bilinear_pooling import BilinearPooling
from cin_keras.layers.compact_generalized_non_local import CompactGeneralizedNonLocal
from cin_keras.layers.contrastive_channel_interaction import ContrastiveChannelInteraction
from cin_keras.layers.covariance_pooling import CovariancePooling
from cin_keras.layers.mean_and_deviation import MeanAndDeviation
from cin_keras.layers.non_local import NonLocalBlock
from cin_keras.layers.one_squeeze_multi_excitation import OneSqueezeMultiExcitation
from cin_keras.layers.residual_convolution import ResidualConvolution
from cin_keras.layers.self_channel_interaction import SelfChannelInteraction
