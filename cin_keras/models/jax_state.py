"""Keeps a model's variables through a failed step, or a call that ends between steps, on JAX."""

import contextlib
import functools

import keras

from cin_keras.keras_internals import put_back_jax_state

_GROUPS = ("trainable_variables", "non_trainable_variables")
TRAIN_STATE = (*_GROUPS, "optimizer_variables", "metrics_variables")
TEST_STATE = (*_GROUPS, "metrics_variables")
PREDICT_STATE = _GROUPS


def keep_state(model, step_function, groups):
    """Wraps a step so that an exception in it puts the state it was given back into the model.

    Keras' JAX trainer empties all variables before the first step of an epoch. Without this, a
    batch that is refused, or Ctrl-C, would cost the user the model's weights.

    Args:
        model: The model being run.
        step_function: What `make_train_function` (test, predict) made: `(state, iterator)` →
            `(outputs, state)`.
        groups: Names of the lists of variables that the state consists of.

    Returns:
        The wrapped function; on other backends `step_function` itself.
    """
    if keras.backend.backend() != "jax" or hasattr(step_function, "keeps_state"):
        return step_function

    @functools.wraps(step_function)
    def step(state, iterator):
        try:
            return step_function(state, iterator)
        except BaseException:
            lost = any(value.is_deleted() for values in state for value in values)
            if not lost:
                put_back_jax_state(model, dict(zip(groups, state)))
            raise

    step.keeps_state = True
    return step


@contextlib.contextmanager
def keep_state_between_steps(model):
    """A context for `evaluate` or `predict` that an error between two steps may end.

    Keras' JAX trainer gives the variables back at the end of these, but not after Ctrl-C or the error
    of a callback, as `fit` does.

    Args:
        model: The model being run.
    """
    try:
        yield
    except BaseException:
        if keras.backend.backend() == "jax":
            model.jax_state_sync()
        raise
