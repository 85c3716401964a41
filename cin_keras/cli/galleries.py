"""A gallery file as the commands use it, with the model that it belongs to."""

import os

from cin_keras.files import seen_from
from cin_keras.gallery import Gallery
from cin_keras.models import load_model
from cin_keras.models.load import HUB


def open_gallery(path, model=None, batch_size=32):
    """Loads a gallery with its model.

    Args:
        path: Str, the gallery's file.
        model: Str, the model's file, or `None` for where it was when the gallery was made, as
            seen from the gallery's folder. Defaults to `None`.
        batch_size: Int ≥ 1, photographs at a time. Defaults to 32.

    Returns:
        `cin_keras.Gallery`.

    Raises:
        FileNotFoundError, ValueError: As `Gallery.load` and `cin_keras.load_model`; if the model is
            not there any more, or nothing is in the gallery.
    """
    if model is None:
        model = Gallery.load(path).model_path
        if model and not model.startswith(HUB):
            model = os.path.normpath(os.path.join(os.path.dirname(path) or ".", model))
        if not model or not (model.startswith(HUB) or os.path.exists(model)):
            where = f"is not at {model!r}" if model else "is not noted down in it"
            raise FileNotFoundError(
                f"The model that {path!r} was made with {where}: give it with --model."
            )
    gallery = Gallery.load(path, load_model(model, compile=False), batch_size)
    if not len(gallery):
        raise ValueError(f"The gallery {path!r} is empty.")
    return gallery


def check_image_size(gallery, image_size):
    """Raises ValueError unless `--image-size` (int) is left out, or the gallery's own."""
    if image_size is not None and gallery.image_size != (image_size, image_size):
        raise ValueError(
            f"`image_size` must be that of the gallery, {gallery.image_size}, or be left out. "
            f"Received: image_size={image_size}"
        )


def path_of_model(model, gallery):
    """How a gallery notes down its model: as seen from the gallery's folder, in `/`.

    Args:
        model: Str, the model's file, or its address on the Hugging Face Hub, which stays.
        gallery: Str, the gallery's file.

    Returns:
        Str.

    Example:

    >>> path_of_model("runs/cars/model.keras", "runs/gallery.npz")
    'cars/model.keras'
    """
    if model.startswith(HUB):
        return model
    return seen_from(os.path.dirname(gallery) or ".", model).replace(os.sep, "/")
