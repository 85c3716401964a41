"""A backbone for drawings and tests, which needs no pretrained weights."""

import keras


def small_backbone(image_size, dtype=None):
    """Five convolutions with batch normalisation: trains on drawings from nothing in minutes.

    Args:
        image_size: Int, height and width of the images in pixels.
        dtype: Dtype policy of its layers. Defaults to `None`, the global policy.

    Returns:
        `keras.Model` from images `(batch, image_size, image_size, 3)`, 0 to 255, to features
        `(batch, image_size // 16, image_size // 16, 256)`; the convolutions' outputs are the layers
        `block_1` to `block_5`, each half the size of the one before.

    Example:

    >>> small_backbone(64).output.shape
    (None, 4, 4, 256)
    """
    images = x = keras.Input((image_size, image_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype=dtype)(x)
    for block, filters in enumerate((32, 64, 128, 128, 256)):
        if block:
            x = keras.layers.MaxPooling2D(dtype=dtype)(x)
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, dtype=dtype)(x)
        x = keras.layers.BatchNormalization(momentum=0.9, dtype=dtype)(x)
        x = keras.layers.ReLU(dtype=dtype, name=f"block_{block + 1}")(x)
    return keras.Model(images, x, name="small")
