"""The images of a recipe that measures: a data set of any known layout, or drawn cars."""

from cin_keras.data import drawn_cars, find_data_set


def training_and_test(data_dir, drawn_size, limit=None):
    """Training and test samples.

    Args:
        data_dir: Str or path of a data set of any known layout, or `None` for drawn cars.
        drawn_size: Int, pixels of a side of the drawn cars.
        limit: Int, how many images of each split, or `None` for all. Defaults to `None`.

    Returns:
        List of two `Samples`.

    Raises:
        FileNotFoundError, ValueError: As `cin_keras.data.find_data_set`.

    Example:

    >>> [len(samples) for samples in training_and_test(None, drawn_size=32, limit=24)]
    [24, 24]
    """
    splits = [
        find_data_set(data_dir, split) if data_dir else drawn_cars(split, image_size=drawn_size)
        for split in ("train", "test")
    ]
    return [samples.limit(limit) if limit else samples for samples in splits]
