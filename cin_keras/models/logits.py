"""Losses and metrics that take a model's output for what it is not: logits for probabilities."""

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
            advice = (
                "cin_keras.losses.SoftmaxCrossentropy()"
                if argument == "loss"
                else f"keras.metrics.{kind}(from_logits=True)"
            )
            if logits:
                return (
                    f"The model gives logits, which `{argument}` takes for probabilities: use "
                    f"{advice}, or CIN(classifier_activation='softmax'). "
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
