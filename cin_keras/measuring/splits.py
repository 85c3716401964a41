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

    >>> [len(samples) for samples in training_and_test(None, drawn_size=48, limit=24)]
    [24, 24]
    """
    splits = [
        find_data_set(data_dir, split) if data_dir else drawn_cars(split, image_size=drawn_size)
        for split in ("train", "test")
    ]
    return [samples.limit(limit) if limit else samples for samples in splits]


def every_second_class(train, test):
    """Samples of every second class, and all those of the classes between, which are not trained.

    Args:
        train: `Samples`.
        test: `Samples` of the same classes.

    Returns:
        Three `Samples`: to train on, to test on, and both splits of the other classes.

    Example:

    >>> parts = every_second_class(*training_and_test(None, drawn_size=48, limit=24))
    >>> [(part.num_classes, len(part)) for part in parts]
    [(6, 12), (6, 12), (6, 24)]
    """
    known, others = train.class_names[::2], train.class_names[1::2]
    return train.filter(known), test.filter(known), train.filter(others).join(test.filter(others))
