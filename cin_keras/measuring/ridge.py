"""How much of the classes a linear classifier reads from features: ridge regression.

The classifier is a regression onto the classes, solved at once for several ridges. Which ridge is
used on one half of the test images is chosen on the other half, so that none chooses its own.
"""

import numpy as np

from cin_keras.measuring.tables import markdown_table, plus_minus

RIDGES = 10.0 ** np.arange(-3, 3)  # in shares of the features' mean variance


def standardize(train, test):
    """Both, less the training images' mean, over their standard deviation.

    Args:
        train: Floats of shape `(images, features)`.
        test: Likewise.

    Returns:
        `(train, test)`; a feature that never varies in training is 0 in both.

    Example:

    >>> train, test = standardize(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[4.0, 6.0]]))
    >>> train.tolist(), test.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0]])
    """
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation = np.where(deviation > 1e-6, deviation, np.inf)  # what never varies says nothing
    return (train - mean) / deviation, (test - mean) / deviation


def ridge_scores(train, labels, test, classes, ridges=RIDGES):
    """Scores of the test images by a regression onto the classes, for every ridge.

    Args:
        train: Floats of shape `(images, features)`, standardized.
        labels: Ints of shape `(images,)`, their classes.
        test: Floats of shape `(test_images, features)`.
        classes: Int, how many there are.
        ridges: Floats, in shares of the features' mean variance. Defaults to 0.001 to 100.

    Returns:
        Floats of shape `(ridges, test_images, classes)`.

    Example:

    >>> train = np.array([[-1.0], [1.0]])
    >>> ridge_scores(train, [0, 1], train, classes=2, ridges=[1.0])[0].argmax(axis=1).tolist()
    [0, 1]
    """
    targets = np.eye(classes, dtype="float32")[labels] - 1 / classes
    variances, directions = np.linalg.eigh(train.T @ train / len(train))
    slopes = directions.T @ (train.T @ targets) / len(train)
    seen = test @ directions
    penalties = np.asarray(ridges) * variances.mean()
    return np.stack([seen @ (slopes / (variances + p)[:, None]) for p in penalties])


def is_right(scores, labels, seed):
    """Which images are right: each half with the ridge that is best on the other half.

    Args:
        scores: What `ridge_scores` returned, `(ridges, images, classes)`.
        labels: Ints of shape `(images,)`, the true classes.
        seed: Int, of the halves.

    Returns:
        Bools of shape `(images,)`.
    """
    right = scores.argmax(axis=2) == labels
    first = np.random.default_rng(seed).permutation(len(labels)) % 2 == 0
    best_of_first = right[right[:, first].mean(axis=1).argmax()]
    best_of_second = right[right[:, ~first].mean(axis=1).argmax()]
    return np.where(first, best_of_second, best_of_first)


def random_features(standardized, seed):
    """As many numbers as there are features, made of these alone: `max(0, X R)`, `R` random.

    Args:
        standardized: Floats of shape `(images, features)`.
        seed: Int, of `R`.

    Returns:
        Floats of the same shape.
    """
    features = standardized.shape[1]
    matrix = np.random.default_rng(seed).standard_normal((features, features))
    return np.maximum(standardized @ matrix / np.sqrt(features), 0)


def varying_share(features):
    """How much of the squared length of features differs from image to image.

    Args:
        features: Floats of shape `(images, features)`.

    Returns:
        Float from 0, where all images have the same features, to 1, where their mean is 0.

    Example:

    >>> varying_share(np.array([[3.0, 4.0], [3.0, 4.0]])), varying_share(np.array([[-1.0], [1.0]]))
    (0.0, 1.0)
    """
    length = np.square(features).sum()
    return float(np.square(features - features.mean(axis=0)).sum() / length) if length else 0.0


def added_knowledge(features, labels, classes, seed):
    """How much more of the classes a linear classifier knows with features beside the first ones.

    Args:
        features: Dict from names to `(train, test)`, floats of shape `(images, features)`; the
            first are those that the others are added to.
        labels: `(train, test)`, ints of shape `(images,)`.
        classes: Int, how many there are.
        seed: Int, of the halves of the test images.

    Returns:
        List of dicts, one a name: `features` (the name), `accuracy` on the test images together
        with the first, `gain` over the first alone with its `standard_error` (image by image),
        accuracy `alone`, and `varies`, the `varying_share` of the test images.
    """

    def right(train, test):
        return is_right(ridge_scores(train, labels[0], test, classes), labels[1], seed)

    first = baseline = None
    table = []
    for name, raw in features.items():
        own = standardize(*raw)
        alone = together = right(*own)
        if first is None:
            first, baseline = own, alone
        else:
            together = right(*(np.hstack(parts) for parts in zip(first, own)))
        gain = together.astype(float) - baseline
        table.append(
            {
                "features": name,
                "accuracy": float(together.mean()),
                "gain": float(gain.mean()),
                "standard_error": float(gain.std() / np.sqrt(len(gain))),
                "alone": float(alone.mean()),
                "varies": varying_share(raw[1]),
            }
        )
    return table


def knowledge_table(table, phi, eta, images):
    """What `added_knowledge` found, in Markdown, and what is in it explained.

    Args:
        table: List of dicts, as from `added_knowledge`.
        phi: Dict, as from `cin_keras.measuring.channel_features.share_of_phi`, or `None`.
        eta: Dict, as from `cin_keras.measuring.channel_features.eta_of_pairs`, or `None`.
        images: Int, how many test images there were.

    Returns:
        Str.
    """
    rows = []
    for row in table:
        gain = plus_minus(row["gain"], row["standard_error"], "+.1f", 100)
        what = f"that and {row['features']}" if rows else f"the {row['features']}"
        shares = [f"{row[name]:.1%}" for name in ("accuracy", "alone", "varies")]
        rows.append([what, shares[0], gain if rows else "", *shares[1:]])
    columns = ["the classifier sees", "right", "gain", "alone", "varies"]
    text = markdown_table(columns, rows) + (
        f"\n\n*right*: of {images} test images. *gain*: in points over the mean, ± one standard "
        "error, image by image. *alone*: without the mean. *varies*: the share of the features' "
        "squared length that differs between images.\n"
    )
    if phi:
        text += (
            f"\nThe trained φ adds {phi['relative_length']:.2f} times the length of the mean, of "
            f"which {phi['varies']:.1%} differs between images (of the mean: "
            f"{phi['mean_varies']:.1%}); the rest is the same for every image, as a bias is.\n"
        )
    if eta:
        of_pairs = (f"{' '.join(f'{q:.2f}' for q in eta[name])} of {name}" for name in eta)
        text += f"\nη in |W_A − η W_B|, quartiles over pairs: {', '.join(of_pairs)}.\n"
    return text
