"""`h`: what the contrastive loss compares of an image."""

import keras

from cin_keras.layers.numerics import unit_length


class Embedding(keras.layers.Dense):
    """A fully connected layer to vectors of length 1, without a bias, which would move all alike.

    A class of its own, for then a file of weights holds it under a name of its own.

    Args:
        embedding_dim: Int, the length of the vectors.
        **kwargs: `name`, `dtype`, `trainable` as for every Keras layer.

    Example:

    >>> embeddings = Embedding(4)(np.ones((2, 8)))
    >>> lengths = keras.ops.norm(embeddings, axis=1)
    >>> bool(keras.ops.all(abs(lengths - 1) < 1e-5))
    True
    """

    def __init__(self, embedding_dim, **kwargs):
        super().__init__(embedding_dim, use_bias=False, **kwargs)

    def call(self, inputs):
        return unit_length(super().call(inputs))
