"""What `predict` runs in place of the whole network: the graph with φ folded into the classifier."""

import keras
import numpy as np
from keras import ops

from cin_keras.models.jax_state import PREDICT_STATE, keep_state
from cin_keras.models.pair_batch import check_single_images
from cin_keras.serving.folding import FoldedHeads, folds
from cin_keras.torch_modes import with_gradients


class FoldedPrediction:
    """The folded graph of one model, folded anew where the weights are others than last time.

    Weights change in training, by loading and by hand, so all are looked at every time, which takes
    about as long as φ on one image; to fold takes as long as a few images.
    """

    def __init__(self):
        self._network = self._head = self._seen = self._settings = None

    def network(self, model):
        """See `Classifier.prediction_network`.

        Args:
            model: `CIN`.

        Returns:
            `keras.Model` with the backbone of `model`, compiled as that is; `None` where nothing
            folds, where several devices share the work, and where the model runs eagerly, as for
            somebody who looks at its layers.
        """
        if model.run_eagerly or _is_shared(model) or not folds(model):
            return None
        seen = _fingerprint(model)
        with with_gradients():  # what is made in PyTorch's inference mode could not be changed later
            if self._network is None:
                self._head = FoldedHeads(model.interaction, model.classifier, in_predict=True)
                outputs = self._head(model.interaction.input)[0]
                self._network = _Network(model.input, outputs, name=model.name)
            elif not all(map(np.array_equal, seen, self._seen)):
                self._head.fold()
        self._seen = seen
        settings = {name: getattr(model, name) for name in ("jit_compile", "steps_per_execution")}
        if settings != self._settings:
            self._network.compile(**settings)
            self._settings = settings
        return self._network


class _Network(keras.Model):
    """A functional graph whose `predict` refuses pairs, and keeps its weights where it fails."""

    def predict_step(self, *args):
        check_single_images(args[-1], "predict()")
        return super().predict_step(*args)

    def make_predict_function(self, force=False):
        super().make_predict_function(force)
        self.predict_function = keep_state(self, self.predict_function, PREDICT_STATE)


def _is_shared(model):
    """Whether several devices, processes or hosts compute for a model."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync > 1
    return model.replicas.lockstep or keras.distribution.distribution() is not None


def _fingerprint(model):
    """Arrays that tell the weights which are folded from others.

    Of φ's kernel the product with random numbers: a change too small to be seen there is lost to
    rounding in what φ computes, too.
    """
    phi, classifier = model.interaction.phi, model.classifier
    kernel = ops.reshape(phi.kernel, (-1, model.interaction.channels))
    probe = np.random.default_rng(0).normal(size=(model.interaction.channels, 1))
    product = ops.matmul(kernel, ops.cast(probe, kernel.dtype))
    return [
        ops.convert_to_numpy(x) for x in (product, phi.bias, classifier.kernel, classifier.bias)
    ]
