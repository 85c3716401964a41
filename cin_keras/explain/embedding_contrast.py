"""Which part of an image makes it more like one embedding than like another.

The embedding of an image is what the classifier sees, `v`, after the model's whitening, `(v − m) K`,
scaled to length 1. Its cosine with a vector `a` of length 1 is `(K a) · (v − m) / |(v − m) K|`: linear
in `v` once that length is what it is for the image, so shared out over the positions as the
difference of two logits is (see `class_contrast_map`), the part of `m` evenly. It explains what a
gallery says of classes that the classifier has never seen.
"""

import numpy as np

from cin_keras.explain.feature_maps import check_has_map, in_batches
from cin_keras.explain.images import check_images
from cin_keras.explain.pooled_features import shared_features
from cin_keras.torch_modes import without_gradients


def embedding_contrast_map(model, images, embeddings, others=None):
    """The part of each image that makes it more like one embedding than like another.

    Args:
        model: `cin_keras.CIN`, with any interaction but `"osme"`.
        images: As for `class_contrast_map`.
        embeddings: Floats `(batch, width)`, an embedding for each image, as the gallery has them.
        others: Floats of the same shape, or `None` to set nothing against them. Defaults to
            `None`.

    Returns:
        float32 array `(batch, height, width)`, height and width of the feature map: positive where
        the image is like `embeddings`, negative where like `others`. The mean of a map is the
        difference of the two products with the image's own embedding: of cosines, if they have
        length 1.

    Raises:
        TypeError, ValueError: As for `class_contrast_map`, or if embeddings are not as above.

    Example:

    ```python
    gallery = cin_keras.Gallery(model, samples)
    found = gallery.search(images, k=1).indices[:, 0]
    maps = cin_keras.explain.embedding_contrast_map(model, images, gallery.embeddings[found])
    ```
    """
    check_has_map(model, "embedding_contrast_map")
    images = check_images(model, images)
    whitening, shape = model.whitening, (len(images), model.embedding_width)
    difference = _check_vectors("embeddings", embeddings, shape)
    if others is not None:
        difference = difference - _check_vectors("others", others, shape)
    maps = []
    with without_gradients():
        for batch, wanted in in_batches(images, difference):
            features, share_out = shared_features(model, batch)
            own = features if whitening is None else whitening(features)
            lengths = np.linalg.norm(own, axis=1, keepdims=True)
            factors, rest = wanted / np.maximum(lengths, 1e-12), 0.0
            if whitening is not None:
                factors = factors @ whitening.kernel.T
                rest = (factors @ whitening.mean)[:, None, None]
            maps.append((share_out(factors) - rest).astype("float32"))
    return np.concatenate(maps)


def _check_vectors(name, vectors, shape):
    vectors = np.asarray(vectors)
    numbers = vectors.dtype.kind in "iuf" and vectors.shape == shape
    if not numbers or not np.isfinite(vectors).all():
        raise ValueError(
            f"`{name}` must be finite numbers of shape {shape}: (images, width of the features). "
            f"Received: shape={vectors.shape}, dtype={vectors.dtype}"
        )
    return vectors.astype("float32")
