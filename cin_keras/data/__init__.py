"""Data sets as lists of samples, and the `tf.data` pipelines that read them."""

from cin_keras.data.cache import with_cache
from cin_keras.data.decoding import UnreadableImage, decode
from cin_keras.data.downloads.download import download
from cin_keras.data.downloads.fetch import DownloadError
from cin_keras.data.images import image_dataset
from cin_keras.data.loaders.cub_200_2011 import cub_200_2011
from cin_keras.data.loaders.drawn_cars import differing_parts, drawn_cars
from cin_keras.data.loaders.fgvc_aircraft import fgvc_aircraft
from cin_keras.data.loaders.find import find_data_set, find_layout, find_splits
from cin_keras.data.loaders.image_folder import image_folder
from cin_keras.data.loaders.oxford_iiit_pet import oxford_iiit_pet
from cin_keras.data.loaders.stanford_cars import stanford_cars
from cin_keras.data.loaders.table import from_table
from cin_keras.data.mixing import mixed
from cin_keras.data.pairs import PairSampler, pair_dataset
from cin_keras.data.pipeline import SetEpoch
from cin_keras.data.samples import Samples
from cin_keras.data.shards import from_shards, write_shards
from cin_keras.data.skipping import ReportSkipped, SkippedImages
from cin_keras.data.splits import load_split, random_splits, save_split
from cin_keras.data.verify import (
    Duplicates,
    Finding,
    Verification,
    find_duplicates,
    verify_images,
)
