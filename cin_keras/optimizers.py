"""Optimizers for large new layers on a pretrained network: rates of their own for some layers.

Weight decay is for what multiplies (kernels), not for what is added or scales a channel: biases,
normalisation, a PReLU's slopes. It goes with the rate of its layer, as an L2 penalty would.

The pooled φ sees nine nearly equal inputs for each one that the classifier sees, so a step that
suits the classifier is far too large for φ. `cin_keras.models.TRAINING_RATES` holds what was found
to suit `CIN`.
"""

import difflib
import math
import warnings

import keras
from keras import ops

from cin_keras.checks import check_number, short
from cin_keras.keras_internals import OwnDecayAndClipping, uses_weight_decay, variable_index
from cin_keras.layers.roles import ROLES


class _Layerwise(OwnDecayAndClipping):
    """Mixin for a Keras optimizer: multiplies the learning rate of some variables, decays some."""

    def __init__(self, learning_rate, rates=None, **kwargs):
        for name in ("weight_decay", "clipnorm", "global_clipnorm", "clipvalue"):
            if kwargs.get(name) is not None:
                check_number(name, kwargs[name], **{"least" if name == "weight_decay" else "above": 0})
        super().__init__(learning_rate=learning_rate, **kwargs)
        if rates is not None and not isinstance(rates, dict):
            raise ValueError(
                f"`rates` must be a dict from names to factors. Received: rates={short(rates)}"
            )
        self.rates = {
            name: check_number(f"rates[{name!r}]", factor, least=0)
            for name, factor in (rates or {}).items()
        }

    def build(self, variables):
        super().build(variables)
        self.factors = [
            math.prod(factor for name, factor in self.rates.items() if name in _names_of(variable))
            for variable in variables
        ]
        self.decays = [
            _multiplies(variable) and uses_weight_decay(self, variable) for variable in variables
        ]
        for name in self.rates:
            _warn_unless_used(name, variables)

    def update_step(self, gradient, variable, learning_rate):
        index = variable_index(self, variable)
        learning_rate = learning_rate * self.factors[index]
        if self.weight_decay and self.decays[index]:
            kept = ops.cast(1 - learning_rate * self.weight_decay, variable.dtype)
            self.assign(variable, variable * kept)
        if self.clipnorm:
            gradient, learning_rate = self.clipped(gradient, learning_rate)
        super().update_step(gradient, variable, learning_rate)

    def clipped(self, gradient, learning_rate):
        """Gradient and rate of a step in which the gradient is no longer than `clipnorm`."""
        return gradient * _shrinking(gradient, self.clipnorm), learning_rate

    def get_config(self):
        return {**super().get_config(), "rates": self.rates}


def _shrinking(gradient, norm):
    """The factor that makes a gradient no longer than `norm`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Which makes no square as large as the gradient.
        length = tf.sqrt(2 * tf.nn.l2_loss(tf.convert_to_tensor(gradient)))
    else:
        length = ops.sqrt(ops.sum(ops.square(gradient)))
    return norm / ops.maximum(length, norm)


def _multiplies(variable):
    """Whether it is a kernel; biases of attention and scales of several axes are none, either."""
    return len(variable.shape) > 1 and variable.name not in ("bias", "beta", "gamma", "alpha")


def _names_of(variable):
    """The names by which `rates` can mean a variable."""
    parts = set(variable.path.split("/")) - set(ROLES)
    return parts | {getattr(variable, "role", None)} - {None}


def _warn_unless_used(name, variables):
    names = {found for variable in variables for found in _names_of(variable)}
    if name in names:
        return
    if name not in ROLES:
        close = difflib.get_close_matches(str(name), [*names, *ROLES], n=1)
        advice = f", did you mean {close[0]!r}?" if close else "."
        warnings.warn(
            f"rates[{name!r}] changes nothing: no layer or weight that is trained has that "
            f"name{advice}",
            stacklevel=4,
        )
    elif any(name in variable.path.split("/") for variable in variables):
        warnings.warn(
            f"rates[{name!r}] changes nothing: it is for the layers of cin_keras, not for a layer "
            f"of your own with the name {name!r}. Give that another name.",
            stacklevel=4,
        )


class _SGD(keras.optimizers.SGD):
    """Keras' SGD in fewer passes over memory on TensorFlow.

    On a CPU, TensorFlow runs operations one by one, each with a result as large as φ's kernel: the
    step of a large layer waits for memory. (XLA and PyTorch fuse them.)
    """

    def update_step(self, gradient, variable, learning_rate):
        if not self.momentum or not hasattr(variable, "handle"):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        dtype = variable.dtype
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[variable_index(self, variable)].value.handle,
            lr=tf.cast(learning_rate, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
            momentum=tf.cast(self.momentum, dtype),
            use_nesterov=self.nesterov,
        )


@keras.saving.register_keras_serializable(package="cin_keras")
class LayerwiseSGD(_Layerwise, _SGD):
    """Stochastic gradient descent with a rate of its own for some layers.

    Everything else (momentum, schedules, clipping, accumulation, averaging) is Keras' SGD, but that
    `clipnorm` shortens the gradient that the devices of a strategy have together. Weight
    decay is decoupled, as in Keras: at each step a variable loses `learning_rate * weight_decay`
    of itself, with the learning rate of its layer. Only kernels decay: variables of two axes or
    more that Keras does not name `bias`, `beta`, `gamma` or `alpha`. What
    `exclude_from_weight_decay` names does not, either. (PyTorch's `weight_decay` goes through the
    momentum: with a momentum of 0.9, ten times its value here takes as much away.)

    Args:
        learning_rate: Float or schedule. Defaults to 0.01.
        rates: Dict from the name of a layer or weight to the factor, a float ≥ 0, by which its
            learning rate is multiplied. `"phi"`, `"psi"` and `"navigator"` are the φ and ψ of this
            package's layers and the Navigator of its `NTS`, and nothing else. Any other name
            matches where it is a whole part of a variable's path: `"classifier"` matches
            `classifier/kernel`. Where several match, their factors multiply; one that matches
            nothing gives a warning when the optimizer is built. Defaults to `None`, no factors.
        **kwargs: As for `keras.optimizers.SGD`.

    Raises:
        ValueError: If a factor or the weight decay is negative or no number, or a norm to clip to
            is not positive.

    Example:

    >>> optimizer = cin_keras.optimizers.LayerwiseSGD(0.02, rates={"phi": 0.05}, momentum=0.9)
    >>> model = cin_keras.CIN(5, "mobilenet", weights=None, input_shape=(64, 64, 3))
    >>> model.compile(optimizer, loss=cin_keras.losses.SoftmaxCrossentropy())
    """

    def __init__(self, learning_rate=0.01, rates=None, **kwargs):
        super().__init__(learning_rate, rates=rates, **kwargs)

    def clipped(self, gradient, learning_rate):
        # Descent goes by their product, and a smaller rate takes no pass over memory.
        return gradient, learning_rate * ops.cast(_shrinking(gradient, self.clipnorm), "float32")


@keras.saving.register_keras_serializable(package="cin_keras")
class LayerwiseAdamW(_Layerwise, keras.optimizers.AdamW):
    """AdamW (Loshchilov and Hutter, ICLR 2019) with a rate of its own for some layers.

    Everything else is Keras' AdamW. Weight decay is as for `LayerwiseSGD`.

    Args:
        learning_rate: Float or schedule. Defaults to 0.001.
        rates: As for `LayerwiseSGD`. Defaults to `None`.
        **kwargs: As for `keras.optimizers.AdamW`.

    Raises:
        ValueError: As `LayerwiseSGD`.

    Example:

    >>> optimizer = cin_keras.optimizers.LayerwiseAdamW(1e-3, rates={"phi": 0.05})
    """

    def __init__(self, learning_rate=0.001, rates=None, **kwargs):
        super().__init__(learning_rate, rates=rates, **kwargs)
