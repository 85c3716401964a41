"""What a function makes of photographs, one after the other, whether they can be decoded or not."""

from cin_keras.data.images import image_dataset


def predict_each(predict, samples, image_size, batch_size=32, max_pixels=None):
    """Reads photographs and hands them to a function, a batch at a time.

    Args:
        predict: Function from images, uint8 `(batch, height, width, 3)`, to an array with a row
            an image.
        samples: `Samples`.
        image_size: Int or `(height, width)`, in pixels.
        batch_size: Int ≥ 1. Defaults to 32.
        max_pixels: Int ≥ 1, larger photographs count as ones that cannot be decoded, or `None` for
            the limit of the samples. Defaults to `None`.

    Yields:
        `(index, row, reason)` for every sample, in order: its row and `None`, or, for a photograph
        that cannot be decoded, `None` and a str that says why.

    Example:

    >>> samples = cin_keras.data.drawn_cars(images_per_class=1, image_size=32).limit(2)
    >>> rows = predict_each(lambda images: images.mean(axis=(1, 2)), samples, 32)
    >>> [(index, row.shape, reason) for index, row, reason in rows]
    [(0, (3,), None), (1, (3,), None)]
    """
    data = image_dataset(samples, image_size, batch_size, on_error="skip", max_pixels=max_pixels)
    data.skipped.silence()  # whoever iterates over this says it
    skipped = data.skipped.reasons
    index = 0
    for images in _until_none_is_good(data):
        for row in predict(images):
            while index in skipped:
                yield index, None, skipped[index]
                index += 1
            yield index, row, None
            index += 1
    for bad in range(index, len(samples)):
        yield bad, None, skipped[bad]


def _until_none_is_good(data):
    """The images of each batch; nothing where an `image_dataset` has no good one."""
    import tensorflow as tf

    try:
        for images, _ in data:
            yield images.numpy()
    except tf.errors.OpError:
        if len(data.skipped) < len(data.skipped.samples):
            raise
