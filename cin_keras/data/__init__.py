"""Data sets as lists of samples, and the `tf.data` pipelines that read them."""

from cin_keras.data.cache import with_cache
from cin_keras.data.drawn_cars import differing_parts, drawn_cars
from cin_keras.data.images import image_dataset
from cin_keras.data.pairs import PairSampler, SetEpoch, pair_dataset
from cin_keras.data.samples import Samples
from cin_keras.data.stanford_cars import stanford_cars
