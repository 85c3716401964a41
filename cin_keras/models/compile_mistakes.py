"""Losses and metrics that take an output or labels for what they are not: logits for probabilities."""

import inspect

import keras

from cin_keras.checks import short


def logits_mistake(logits, **given):
    """A sentence on the first loss or metric that reads the model's output wrongly.

    Keras computes with it and says nothing; the model learns badly.

    Args:
        logits: Bool, whether the model gives logits, or else probabilities.
        **given: `loss=` and `metrics=` as for `keras.Model.compile`: strings, functions, classes,
            objects, or lists or dicts of these.

    Returns:
        Str, or `None` if there is none.

    Example:

    >>> logits_mistake(True, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    """
    for argument, values in given.items():
        for value in keras.tree.flatten(values):
            takes_logits = _takes_logits(value, getattr(keras, _MODULES[argument]).get)
            if takes_logits is None or takes_logits is logits:
                continue
            is_sparse = "sparse" in str(getattr(value, "name", value)).lower()
            kind = "SparseCategoricalCrossentropy" if is_sparse else "CategoricalCrossentropy"
            advice = "from_logits=True"
            if argument == "loss":
                advice = "cin_keras.losses.SoftmaxCrossentropy()"
            elif "crossentropy" in _name_of(value):
                advice = f"keras.metrics.{kind}(from_logits=True)"
            if logits:
                return (
                    f"The model gives logits, which `{argument}` takes for probabilities: use "
                    f"{advice}, or make the model with classifier_activation='softmax'. "
                    f"Received: {argument}={short(value)}"
                )
            return (
                f"The model gives probabilities, which `{argument}` takes for logits: pass "
                "from_logits=False, or make the model with classifier_activation=None. "
                f"Received: {argument}={short(value)}, from_logits=True"
            )
    return None


# Those of Keras that know no `from_logits`, and take a logarithm or a share of what they are given.
_FOR_PROBABILITIES = (
    *(keras.losses.KLDivergence, keras.losses.kl_divergence, keras.metrics.KLDivergence),
    *(keras.losses.Poisson, keras.losses.poisson, keras.metrics.Poisson),
    *(keras.losses.Dice, keras.losses.dice, keras.losses.Tversky, keras.losses.tversky),
)
_MODULES = {"loss": "losses", "metrics": "metrics", "weighted_metrics": "metrics"}


def _takes_logits(value, get):
    """Whether a loss or metric expects logits; `None` if it does not say."""
    if isinstance(value, str) and value.lower() in ("crossentropy", "ce"):
        return False
    try:
        found = get(value)
        if found in _FOR_PROBABILITIES or type(found) in _FOR_PROBABILITIES:
            return False
        if hasattr(found, "get_config"):
            return found.get_config().get("from_logits")
        parameters = inspect.signature(found).parameters
    except Exception:  # what it is, Keras says when it is used
        return None
    return parameters["from_logits"].default if "from_logits" in parameters else None


def labels_mistake(one_hot, **given):
    """A sentence on the first loss or metric of Keras that reads labels of another kind.

    Of metrics Keras says nothing: those of one-hot labels are 0 for class numbers.

    Args:
        one_hot: Bool, whether the labels are rows of one number a class, or else class numbers.
        **given: As for `logits_mistake`.

    Returns:
        Str, or `None` if there is none.

    Example:

    >>> labels_mistake(False, metrics=["accuracy"])
    >>> labels_mistake(False, metrics=["categorical_accuracy"])[:52]
    'The labels are class numbers, which `metrics` takes '
    """
    for argument, values in given.items():
        for value in keras.tree.flatten(values):
            name = _name_of(value)
            wants_numbers = "sparse" in name
            # Of others than these, a loss compares number with number, as many as there are scores.
            is_about_labels = "categorical" in name or name in _OF_ONE_HOT or argument == "loss"
            if not (name and is_about_labels) or "generalized" in name or wants_numbers != one_hot:
                continue
            if one_hot:
                labels, taken = (
                    "one-hot",
                    "class numbers: use one without `sparse` in its name, or ",
                )
                advice = "labels.argmax(axis=1)"
            else:
                labels, taken = "class numbers", "one-hot: use one with `sparse` in its name, or "
                advice = "keras.utils.to_categorical(labels)"
                if argument == "loss":
                    taken = "one-hot: use "
                    advice = f"cin_keras.losses.SoftmaxCrossentropy(), or {advice}"
            return (
                f"The labels are {labels}, which `{argument}` takes for {taken}{advice}. "
                f"Received: {argument}={short(value)}"
            )
    return None


_OF_ONE_HOT = {
    "auc", "precision", "recall", "f1score", "fbetascore", "binaryaccuracy", "binarycrossentropy",
    "mse", "mae", "meansquarederror", "meanabsoluteerror", "rootmeansquarederror",
    "cosinesimilarity", "hinge", "squaredhinge", "kldivergence", "kld", "poisson",
}  # fmt: skip


def _name_of(value):
    """The name of a loss or metric of Keras without underscores; empty for another's."""
    if isinstance(value, str):
        return value.lower().replace("_", "")
    named = value if hasattr(value, "__name__") else type(value)
    is_keras = str(getattr(named, "__module__", "")).startswith("keras.")
    return named.__name__.lower().replace("_", "") if is_keras else ""
