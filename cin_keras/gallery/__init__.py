"""Known photographs by their embeddings: classes without training, and photographs like this one."""

from cin_keras.gallery.calibration import GalleryCalibration
from cin_keras.gallery.gallery import Classified, Gallery, GalleryContrast, Neighbours
