"""Whitening: embeddings turned and scaled so that they vary alike in every direction."""

import dataclasses

import numpy as np

from cin_keras.checks import check_int, check_number, short

DIMENSIONS = 512
SHRINKAGE = 0.1


@dataclasses.dataclass(frozen=True)
class Whitening:
    """A linear function of embeddings, after which photographs of one class are found more often.

    The directions in which photographs of known classes differ most are those of light, place and
    background, too; whitening gives every direction the same say. Jégou and Chum, "Negative
    evidences and co-occurrences in image retrieval: the benefit of PCA and whitening", ECCV 2012.

    Args:
        mean: float32 `(width,)`, of the embeddings that it was learned from.
        kernel: float32 `(width, dimensions)`, the directions of most variance, each divided by its
            standard deviation.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> embeddings = rng.normal(size=(1000, 3)) * [5.0, 1.0, 0.1]
    >>> whitened = Whitening.fit(embeddings, shrinkage=1e-6)(embeddings)
    >>> whitened.std(axis=0).round(2).tolist()
    [1.0, 1.0, 1.0]
    """

    mean: np.ndarray
    kernel: np.ndarray

    def __post_init__(self):
        for name in ("mean", "kernel"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), "float32"))
        if self.kernel.ndim != 2 or self.mean.shape != self.kernel.shape[:1]:
            raise ValueError(
                "`mean` and `kernel` must have shapes (width,) and (width, dimensions). Received: "
                f"mean.shape={self.mean.shape}, kernel.shape={self.kernel.shape}"
            )

    @classmethod
    def fit(cls, embeddings, dimensions=DIMENSIONS, shrinkage=SHRINKAGE):
        """Learns a whitening from embeddings of known photographs.

        Args:
            embeddings: Floats of shape `(images, width)`, of two images or more, that differ.
            dimensions: Int ≥ 1, how many directions are kept, those of most variance. Defaults to
                512, or as many as there are.
            shrinkage: Float from 1e-6 to 1, how far the variances are drawn to their mean, so that there
                may be fewer images than directions. Defaults to 0.1.

        Returns:
            `Whitening`.

        Raises:
            ValueError: For arguments out of range, and embeddings that are not finite or all alike.
        """
        check_int("dimensions", dimensions, least=1)
        check_number("shrinkage", shrinkage, least=1e-6, most=1)
        embeddings = np.asarray(embeddings, "float64")
        if embeddings.ndim != 2 or len(embeddings) < 2 or not np.isfinite(embeddings).all():
            raise ValueError(
                "`embeddings` must be finite numbers of shape (images, width), of two images or "
                f"more. Received: {short(embeddings)} of shape {embeddings.shape}"
            )
        mean = embeddings.mean(axis=0)
        variances, directions = np.linalg.eigh(
            np.cov(embeddings.T, bias=True).reshape(2 * mean.shape)
        )
        variances, directions = variances[::-1], directions[:, ::-1]
        if variances[0] <= 1e-12 * np.square(embeddings).mean():
            raise ValueError("`embeddings` must differ. Received: embeddings that are all alike")
        variances = (1 - shrinkage) * variances.clip(min=0) + shrinkage * variances.mean()
        kernel = directions / np.sqrt(variances)
        return cls(mean, kernel[:, :dimensions])

    def __call__(self, embeddings):
        """Embeddings, whitened.

        Args:
            embeddings: Floats of shape `(images, width)`.

        Returns:
            float32 of shape `(images, dimensions)`.
        """
        return (np.asarray(embeddings, "float32") - self.mean) @ self.kernel
