"""What a model does differently when several devices train it, engine by engine.

`Replicas` is one device, and JAX, whose compiler divides one global computation by itself (over
several hosts, it is `HostReplicas`). TensorFlow and PyTorch run one copy of the step a device (a
replica), each on its share of the batch, and sum what belongs together.
"""

import contextlib
import re

import keras

from cin_keras.distribution.batch_normalization import synchronize_batch_normalization
from cin_keras.keras_internals import leave_gradients_unsummed

LOST = "Another process of this run has ended or cannot be reached."
# What PyTorch and JAX say where that is so.
_SIGNS = re.compile(
    r"gloo|nccl|barrier|coordination service|heartbeat|connection (closed|reset)|socket closed",
    re.I,
)


def is_lost(error):
    """Whether an exception is that of a process which waited for another one in vain."""
    return isinstance(error, (RuntimeError, ValueError)) and bool(_SIGNS.search(str(error)))


class Replicas:
    """One device, or several that behave as one.

    Attributes:
        pads: Bool, whether evaluation fills batches up with rows that must not count.
        lockstep: Bool, whether there are several processes, which must come to the same decision
            at the same step.
    """

    lockstep = False

    def __init__(self, pads=False):
        self.pads = pads

    @property
    def loss_divisor(self):
        """Int, by which Keras' losses divide the mean over a replica's share of the batch.

        Also in a `tf.distribute` strategy of the user's own, without `distribute()`.
        """
        if keras.backend.backend() != "tensorflow":
            return 1
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync

    def prepare_training(self, model):
        """Called as `fit` begins, with model and optimizer built."""

    def prepare_evaluation(self, model):
        """Called as an evaluation begins.

        Raises:
            ValueError: If the model has metrics that would count the filling.
        """
        metrics = self.pads and (model.get_compile_config() or {}).get("metrics")
        if metrics:
            raise ValueError(
                "On several devices, an evaluation fills its last batch up with images of weight "
                "zero, which `metrics` would count: use compile(weighted_metrics=...). "
                f"Received: metrics={metrics}"
            )

    def training_step(self, model, data):
        """A context for one training step on a replica's share, `data`, of the batch."""
        return contextlib.nullcontext()

    def evaluation_step(self):
        """A context for one evaluation step."""
        return contextlib.nullcontext()

    def metrics_result(self, metrics, compute):
        """What `compute()` returns while the metrics hold what all replicas have seen."""
        return compute()

    def exchange(self, value):
        """Every process's `value`, any object that can be pickled, a list in their order.

        This and what follows all processes call, or all wait.
        """
        return [value]

    def gather(self, items):
        """The items of all processes in one list."""
        return [item for part in self.exchange(list(items)) for item in part]

    def broadcast(self, value):
        """The first process's `value`, any object that can be pickled."""
        return self.exchange(value)[0]

    def broadcast_variables(self, variables):
        """Gives every process the first one's values of Keras variables."""


class MirroredReplicas(Replicas):
    """The replicas of a `tf.distribute.MirroredStrategy`.

    Keras sums the gradients, but clips each replica's own before: here they are summed first.
    """

    def __init__(self):
        super().__init__(pads=True)

    def prepare_training(self, model):
        check_training(model)
        optimizer = model.optimizer
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if inner.gradient_accumulation_steps:
            raise ValueError(
                "TensorFlow cannot accumulate gradients on several devices: leave "
                "`gradient_accumulation_steps` out and take a larger batch, or use JAX or PyTorch. "
                f"Received: gradient_accumulation_steps={inner.gradient_accumulation_steps}"
            )
        synchronize_batch_normalization(model, _all_reduce_sum)
        if not hasattr(optimizer, "apply_summed"):
            optimizer.apply_summed = optimizer.apply
            optimizer.apply = lambda gradients, variables=None: optimizer.apply_summed(
                _all_reduce_sum_each(gradients), variables
            )
            leave_gradients_unsummed(inner)


def check_training(model):
    """Raises ValueError for a loss whose global value is not the mean over the replicas' own."""
    reduction = getattr(model.loss, "reduction", "sum_over_batch_size")
    if reduction not in ("sum_over_batch_size", "mean"):
        raise ValueError(
            "On several devices, a loss must be the mean over the batch: use "
            "reduction='sum_over_batch_size'. "
            f"Received: reduction={reduction!r} of {model.loss.name!r}"
        )


def _all_reduce_sum(tensor):
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    # As Keras builds a model, no replica runs.
    return tensor if replica is None else replica.all_reduce(tf.distribute.ReduceOp.SUM, tensor)


def _all_reduce_sum_each(gradients):
    there = [gradient for gradient in gradients if gradient is not None]
    summed = iter(_all_reduce_sum(there))
    return [None if gradient is None else next(summed) for gradient in gradients]
