"""An optimizer for large new layers on a pretrained network."""

import math

import keras


@keras.saving.register_keras_serializable(package="cin_keras")
class LayerwiseSGD(keras.optimizers.SGD):
    """Stochastic gradient descent with a rate of its own for some layers.

    The pooled φ sees nine nearly equal inputs for each one that the classifier sees, so a step
    that suits the classifier is far too large for φ. Everything else (momentum, schedules,
    clipping, accumulation, weight decay, averaging) is Keras' SGD. Weight decay goes with the
    common rate.

    Args:
        learning_rate: Float or schedule. Defaults to 0.01.
        rates: Dict from the name of a layer or weight to the factor, a float ≥ 0, by which its
            learning rate is multiplied. A name matches where it is a whole part of a variable's
            path: `"phi"` matches `self_channel_interaction/phi/kernel`. Where several match,
            their factors multiply. Defaults to `None`, no factors.
        momentum: Float ≥ 0. Defaults to 0.0.
        **kwargs: As for `keras.optimizers.SGD`.

    Raises:
        ValueError: If a factor is negative or no number.

    Example:

    >>> optimizer = cin_keras.optimizers.LayerwiseSGD(0.02, rates={"phi": 0.05}, momentum=0.9)
    >>> model = cin_keras.CIN(num_classes=5, backbone="mobilenet", weights=None)
    >>> model.compile(optimizer, loss="sparse_categorical_crossentropy")
    """

    def __init__(self, learning_rate=0.01, rates=None, momentum=0.0, **kwargs):
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.rates = dict(rates or {})
        for name, factor in self.rates.items():
            if not isinstance(factor, (int, float)) or not 0 <= factor < float("inf"):
                raise ValueError(
                    "`rates` must map names to factors of at least 0. "
                    f"Received: rates[{name!r}]={factor!r}"
                )

    def build(self, variables):
        super().build(variables)
        self.factors = [
            math.prod(self.rates.get(part, 1.0) for part in variable.path.split("/"))
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        factor = self.factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}
