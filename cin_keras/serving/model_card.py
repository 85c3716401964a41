"""What a model file says of itself, so that it is all a person needs: names, size, settings."""

import collections
import json
import math

import keras

from cin_keras.checks import check_names, check_size, short

MAX_SETTINGS = 10_000  # values; Keras looks at every one when it saves and loads


def check_class_names(class_names, num_classes):
    """Returns the names as a list of str, or `None`.

    Args:
        class_names: List, tuple or array of str or whole numbers, one a class, or `None`.
        num_classes: Int, how many there must be.

    Raises:
        ValueError: For another number of names, a name twice, an empty one, or one that is none.

    Example:

    >>> check_class_names(("cat", "dog"), 2)
    ['cat', 'dog']
    """
    if class_names is None:
        return None
    names = list(check_names("class_names", class_names))
    if len(names) != num_classes:
        raise ValueError(
            f"`class_names` must hold one name for each of the {num_classes} classes. "
            f"Received: {len(names)} names, {short(class_names)}"
        )
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"`class_names` must differ from each other. Received: {twice[0]!r} twice")
    return [str(name) for name in names]


def choose_image_size(image_size, network_size):
    """Returns `(height, width)` in pixels, that of the network for `None`, or `None` if it is free.

    Args:
        image_size: Int, `(height, width)` or `None`.
        network_size: `(height, width)`, each an int, or `None` where the network takes any.

    Raises:
        ValueError: Unless given positive ints that are the network's own where these are fixed.

    Example:

    >>> choose_image_size(448, (None, None)), choose_image_size(None, (96, 64))
    ((448, 448), (96, 64))
    """
    if image_size is None:
        return None if None in network_size else tuple(network_size)
    size = check_size("image_size", image_size)
    if any(own not in (None, side) for side, own in zip(size, network_size)):
        raise ValueError(
            f"`image_size` must be that of the network's input, {tuple(network_size)}, "
            f"or be left out. Received: image_size={image_size!r}"
        )
    return size


def check_settings(settings):
    """Returns a copy of a dict that JSON gives back as it is (tuples as lists), `{}` for `None`.

    Raises:
        ValueError: For what is no dict, or holds what JSON has no form for; the message says where.
            For more than 10,000 values, which are no settings any more.

    Example:

    >>> check_settings({"epochs": 20, "size": (96, 64)})
    {'epochs': 20, 'size': [96, 64]}
    """
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ValueError(f"`settings` must be a dict or None. Received: settings={short(settings)}")
    plain = _plain(settings, "settings")
    values = len(keras.tree.flatten(plain))
    if values > MAX_SETTINGS:
        raise ValueError(
            f"`settings` must not hold more than {MAX_SETTINGS:,} values: keep tables and lists of "
            f"files beside the model. Received: {values:,} values"
        )
    return plain


def card(model):
    """The card of a `CIN` as JSON, for formats that hold text beside a network.

    Args:
        model: `CIN`.

    Returns:
        Str, in ASCII: an object of `class_names` (list or null), `image_size` (`[height, width]`
        or null), `settings` (object), `temperature` (number, which divides logits before the
        softmax), `hierarchy` (object or null) and `name` (the model's).

    Example:

    ```python
    json.loads(card(model))["class_names"]
    ```
    """
    return json.dumps(
        {
            "class_names": model.class_names,
            "image_size": model.image_size,
            "settings": check_settings(model.settings),
            "temperature": model.temperature,
            "hierarchy": model.hierarchy,
            "name": model.name,
        }
    )


def _plain(value, place):
    """A copy in JSON's types; ValueError, naming the place, if there is none."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(
                    f"The keys of `{place}` must be str. Received: the key {short(key)}"
                )
        return {key: _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
    finite = not isinstance(value, float) or math.isfinite(value)
    if not finite or not isinstance(value, (str, int, float, bool, type(None))):
        raise ValueError(
            f"`{place}` must be something that JSON can hold: a str, finite number, bool, None, "
            f"list or dict. Received: {short(value)}"
        )
    return value
