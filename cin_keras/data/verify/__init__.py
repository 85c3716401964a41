"""Whether a data set is what it should be: every image, every list, no image in two sets.

`python -m cin_keras.data.verify DIR` is the command.
"""

from cin_keras.data.verify.duplicates import Duplicates, find_duplicates
from cin_keras.data.verify.folder import verify_folder
from cin_keras.data.verify.images import Finding, Verification, verify_images
