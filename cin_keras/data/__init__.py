"""Data sets as lists of samples, and the `tf.data` pipelines that read them."""

from cin_keras.data.decoding import UnreadableImage, decode
from cin_keras.data.drawn_cars import differing_parts, drawn_cars
from cin_keras.data.images import image_dataset
from cin_keras.data.pairs import PairSampler, SetEpoch, pair_dataset
from cin_keras.data.samples import Samples
from cin_keras.data.skipping import ReportSkipped, SkippedImages
from cin_keras.data.stanford_cars import stanford_cars
from cin_keras.data.verification import Finding, Verification, verify_images
