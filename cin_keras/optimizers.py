"""Optimizers for large new layers on a pretrained network: rates of their own for some layers.

The pooled φ sees nine nearly equal inputs for each one that the classifier sees, so a step that
suits the classifier is far too large for φ. `cin_keras.models.TRAINING_RATES` holds what was found
to suit `CIN`.
"""

import math

import keras

from cin_keras.checks import check_number
from cin_keras.keras_internals import variable_index


class _Layerwise:
    """Mixin for a Keras optimizer: multiplies the learning rate of some variables."""

    def __init__(self, learning_rate, rates=None, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.rates = dict(rates or {})
        for name, factor in self.rates.items():
            check_number(f"rates[{name!r}]", factor, least=0)

    def build(self, variables):
        super().build(variables)
        self.factors = [
            math.prod(self.rates.get(part, 1.0) for part in variable.path.split("/"))
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        factor = self.factors[variable_index(self, variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}


@keras.saving.register_keras_serializable(package="cin_keras")
class LayerwiseSGD(_Layerwise, keras.optimizers.SGD):
    """Stochastic gradient descent with a rate of its own for some layers.

    Everything else (momentum, schedules, clipping, accumulation, weight decay, averaging) is
    Keras' SGD. Weight decay goes with the common rate.

    Args:
        learning_rate: Float or schedule. Defaults to 0.01.
        rates: Dict from the name of a layer or weight to the factor, a float ≥ 0, by which its
            learning rate is multiplied. A name matches where it is a whole part of a variable's
            path: `"phi"` matches `self_channel_interaction/phi/kernel`. Where several match,
            their factors multiply. Defaults to `None`, no factors.
        **kwargs: As for `keras.optimizers.SGD`.

    Raises:
        ValueError: If a factor is negative or no number.

    Example:

    >>> optimizer = cin_keras.optimizers.LayerwiseSGD(0.02, rates={"phi": 0.05}, momentum=0.9)
    >>> model = cin_keras.CIN(5, "mobilenet", weights=None, input_shape=(64, 64, 3))
    >>> model.compile(optimizer, loss="sparse_categorical_crossentropy")
    """

    def __init__(self, learning_rate=0.01, rates=None, **kwargs):
        super().__init__(learning_rate, rates=rates, **kwargs)


@keras.saving.register_keras_serializable(package="cin_keras")
class LayerwiseAdamW(_Layerwise, keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter, ICLR 2019) with a rate of its own for some layers.

    Everything else is Keras' AdamW. Weight decay goes with the common rate.

    Args:
        learning_rate: Float or schedule. Defaults to 0.001.
        rates: As for `LayerwiseSGD`. Defaults to `None`.
        **kwargs: As for `keras.optimizers.AdamW`.

    Raises:
        ValueError: If a factor is negative or no number.

    Example:

    >>> optimizer = cin_keras.optimizers.LayerwiseAdamW(1e-3, rates={"phi": 0.05})
    """

    def __init__(self, learning_rate=0.001, rates=None, **kwargs):
        super().__init__(learning_rate, rates=rates, **kwargs)
