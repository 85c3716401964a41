"""Features that are no mean of a map, as what every position of an image has given to them.

Each is a sum over positions once its root and its length are what they are for the image: so a
linear function of the features is the mean of a map, exactly.
"""

import numpy as np
from keras import ops

from cin_keras.explain.feature_maps import backbone_maps, interacted_map, to_array
from cin_keras.explain.images import channels_last
from cin_keras.layers import BilinearPooling, CovariancePooling, MeanAndDeviation


def shared_features(model, images):
    """The features that the classifier sees, and how to share out what it makes of them.

    Where the classifier sees the spatial mean of `Z`, a sum of features times factors is the mean
    of `Z` times the factors.

    Args:
        model: `cin_keras.CIN` with any interaction but `"osme"`.
        images: Array as from `check_images`.

    Returns:
        `(features, share_out)`: float64 `(batch, features)`, and a function from factors of that
        shape to maps, float64 `(batch, height, width)`, whose means are the sums of features times
        factors; of a mean, in float32.
    """
    maps = backbone_maps(model, images)
    pool = SHARED_OUT.get(type(model.interaction))
    if pool is None:
        z = channels_last(model, to_array(interacted_map(model, maps)))
        return z.mean(axis=(1, 2)), lambda factors: np.einsum("nhwc,nc->nhw", z, factors)
    height, width = channels_last(model, to_array(maps[0])).shape[1:3]
    # In float64: a sum that nearly cancels is divided by its own root.
    features, share_out = pool(model.interaction, maps)
    return features, lambda factors: share_out(factors).reshape(-1, height, width)


def _bilinear(layer, maps):
    """`v_ij = Σ_l f_i(l) f_j(l) / (√|Φ_ij| ‖…‖)`."""
    pair = layer.projected(maps if len(maps) == 2 else maps * 2)
    a, b = (to_array(x).astype("float64") for x in pair)
    products = np.swapaxes(a, 1, 2) @ b
    root = np.sqrt(np.abs(products))
    length = np.sqrt(np.sum(root**2, axis=(1, 2), keepdims=True))
    scale = np.divide(1.0, root * length, out=np.zeros_like(root), where=root * length > 0)

    def share_out(factors):
        factors = factors.reshape(products.shape) * scale
        return np.sum((a @ factors) * b, axis=2) * a.shape[1]

    return (products * scale).reshape(len(a), -1), share_out


def _covariance(layer, maps):
    """`√Σ = Σ Z / √(tr Σ)`, with the `Z` that the iterations end with, and `Σ` a mean of products."""
    x = layer.positions_by_channels(maps[0])
    if layer.projection is not None:
        x = layer.projection(ops.cast(x, layer.compute_dtype))
        x = ops.relu(layer.normalization(x, training=False))
    x = to_array(x).astype("float64")
    centred = x - x.mean(axis=1, keepdims=True)
    trace = np.mean(centred**2, axis=1).sum(axis=-1)[:, None, None]
    varies = trace > 1e-10 * np.mean(np.sum(x**2, axis=-1), axis=1)[:, None, None]
    centred, trace = np.where(varies, centred, 0.0), np.where(varies, trace, 1.0)
    dim, identity = x.shape[2], np.eye(x.shape[2])
    covariance = np.swapaxes(centred, 1, 2) @ centred / x.shape[1] / trace
    y, z = covariance, np.broadcast_to(identity, covariance.shape)
    for _ in range(layer.iterations):
        t = 1.5 * identity - 0.5 * z @ y
        y, z = y @ t, t @ z
    rows, columns = np.triu_indices(dim)

    def share_out(factors):
        triangle = np.zeros((len(x), dim, dim))
        triangle[:, rows, columns] = factors
        return np.sum((centred @ (triangle @ z)) * centred, axis=2) / np.sqrt(trace[:, 0])

    return (np.sqrt(trace) * y)[:, rows, columns], share_out


def _mean_and_deviation(layer, maps):
    """`σ = (1/l) Σ_l (x_l − x̄)² / σ`, beside the mean."""
    x = to_array(layer.positions_by_channels(maps[0])).astype("float64")
    mean = x.mean(axis=1, keepdims=True)
    squares = (x - mean) ** 2
    variance = squares.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.where(variance > 1e-10 * mean**2, variance, 0.0))
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)

    def share_out(factors):
        of_mean, of_deviation = np.split(factors[:, None, :], 2, axis=-1)
        return np.sum(of_mean * x + of_deviation * squares * scale, axis=-1)

    return np.concatenate([mean, deviation], axis=-1)[:, 0], share_out


SHARED_OUT = {
    BilinearPooling: _bilinear,
    CovariancePooling: _covariance,
    MeanAndDeviation: _mean_and_deviation,
}
