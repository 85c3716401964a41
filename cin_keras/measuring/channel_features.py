"""What a classifier may see of an image: spatial means of its channels, before and after SCI."""

import keras
import numpy as np

from cin_keras.data import image_dataset
from cin_keras.measuring.ridge import varying_share
from cin_keras.progress import progress_bar

MEAN, DEVIATION = "spatial mean", "standard deviation"
PHI, MIXED = "φ", "Y"


def channel_features(model, samples, layers, image_size, batch_size=32):
    """What the classifier of a model may see of images, the backbone run once.

    Args:
        model: `CIN`.
        samples: `Samples`.
        layers: Dict from names to `SelfChannelInteraction`, forms of `W`.
        image_size: Int or `(height, width)`.
        batch_size: Int ≥ 1. Defaults to 32.

    Returns:
        Dict from names to float32 of shape `(images, channels)`: the mean and the standard deviation
        of `X` over positions, as `"spatial mean"` and `"standard deviation"`, and the means of
        `Y = W X` for every layer. Of a trained model also the means of `φ(Y)`, as `"φ"`, and of
        `Y`, as `"Y"`, if it has them.
    """
    layers = dict(layers)
    if model.contrast is not None and model.descriptor == "average":  # a ψ that compares means
        layers[MIXED] = model.interaction
    positions_by_channels = next(iter(layers.values())).positions_by_channels
    rows = {}
    data = image_dataset(samples, image_size, batch_size)
    with progress_bar(len(samples), "image") as bar:
        for images, _ in data:
            maps = model.backbone(keras.ops.convert_to_tensor(images), training=False)
            maps = keras.ops.cast(maps, "float32")
            x = positions_by_channels(maps)
            mean = keras.ops.mean(x, axis=1)
            batch = {MEAN: mean, DEVIATION: keras.ops.std(x, axis=1)}
            for name, layer in layers.items():
                weights = layer.interaction_weights(maps)
                batch[name] = keras.ops.matmul(weights, mean[:, :, None])[:, :, 0]
            if model.interaction_name in ("sci", "pos_sci", "phi"):
                z = model.interaction(maps)
                z = keras.ops.cast(z if len(z.shape) == 2 else model.pooling(z), "float32")
                batch[PHI] = z - mean
            for name, values in batch.items():
                rows.setdefault(name, []).append(keras.ops.convert_to_numpy(values))
            bar.update(len(images))
    return {name: np.concatenate(values) for name, values in rows.items()}


def share_of_phi(features):
    """What a trained `φ` adds to the spatial mean.

    Args:
        features: What `channel_features` returned, `"φ"` among it.

    Returns:
        Dict: `relative_length`, the median over images of `φ`'s length in lengths of the mean;
        `varies` and `mean_varies`, how much of the squared length of either differs between images.
    """
    lengths = [np.linalg.norm(features[name], axis=1) for name in (PHI, MEAN)]
    return {
        "relative_length": float(np.median(lengths[0] / lengths[1])),
        "varies": varying_share(features[PHI]),
        "mean_varies": varying_share(features[MEAN]),
    }


def eta_of_pairs(model, mixed, labels, seed):
    """Quartiles of `η = ψ([Y_A, Y_B])`, every image once with one of its class, once of another.

    Args:
        model: `CIN` with `contrast="cci"` and averaged descriptors.
        mixed: Floats of shape `(images, channels)`, the means of `Y`.
        labels: Ints of shape `(images,)`.
        seed: Int, of the partners.

    Returns:
        Dict: `"one class"` and `"two classes"`, each a list of three floats. An image without a
        partner is in no pair.
    """
    rng = np.random.default_rng(seed)
    quartiles = {}
    for name, is_partner in (("one class", np.equal), ("two classes", np.not_equal)):
        a, b = [], []
        for image, label in enumerate(labels):
            partners = np.flatnonzero(is_partner(labels, label))
            partners = partners[partners != image]
            if len(partners):
                a.append(image)
                b.append(rng.choice(partners))
        eta = model.contrast.psi(np.concatenate([mixed[a], mixed[b]], axis=1))
        quartiles[name] = np.percentile(keras.ops.convert_to_numpy(eta), (25, 50, 75)).tolist()
    return quartiles
