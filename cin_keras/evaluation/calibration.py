"""Whether probabilities mean what they say: of those of 80 %, are eight in ten right?

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (arXiv:1706.04599): the expected
calibration error measures it, and one number, the temperature by which all logits are divided,
sets most of it right. No prediction changes, for the order of the classes stays as it is.
"""

import numpy as np
from scipy.special import log_softmax, softmax

from cin_keras.checks import check_int, check_labels, check_number
from cin_keras.evaluation.accuracy import check_between_0_and_1

BINS = 15
# Of 1 / T: beyond these a model is broken, not badly calibrated.
_SHARPEST, _FLATTEST = 1e3, 1e-3


def expected_calibration_error(labels, probabilities, bins=BINS):
    """ECE: how far confidence and accuracy are apart, on average over the photographs.

    The confidence of a prediction is the probability of the most likely class. Predictions are put
    into bins of equal width by it; the ECE is the mean of `|accuracy − mean confidence|` over the
    bins, each weighted by its predictions.

    Args:
        labels: True classes, integers from 0, shape `(images,)`.
        probabilities: Floats in [0, 1], shape `(images, classes)`; rows sum to 1.
        bins: Int ≥ 1. Defaults to 15.

    Returns:
        Float in [0, 1]; 0 is perfect.

    Raises:
        ValueError: If shapes do not fit together, there is no image, a number is no probability, or
            a row does not sum to 1.

    Example:

    >>> probabilities = np.array([[0.9, 0.1], [0.9, 0.1]])
    >>> round(expected_calibration_error([0, 1], probabilities), 3)
    0.4
    """
    rows = reliability(labels, probabilities, bins)
    images = sum(row["images"] for row in rows)
    return sum(
        row["images"] / images * abs(row["accuracy"] - row["confidence"])
        for row in rows
        if row["images"]
    )


def reliability(labels, probabilities, bins=BINS):
    """How many predictions of each confidence are right: the rows of a reliability diagram.

    Args:
        labels: As for `expected_calibration_error`, and so are the others.
        probabilities: Floats.
        bins: Int ≥ 1. Defaults to 15.

    Returns:
        List of dicts, one a bin of `[low, high)`, the last with its end: `low`, `high`, floats;
        `images`, int; `confidence` and `accuracy`, the means over these, `None` without an image.

    Raises:
        ValueError: As `expected_calibration_error`.

    Example:

    >>> rows = reliability([0, 1], np.array([[0.9, 0.1], [0.7, 0.3]]), bins=2)
    >>> [(row["images"], row["accuracy"]) for row in rows]
    [(0, None), (2, 0.5)]
    """
    bins = check_int("bins", bins, least=1)
    probabilities = np.asarray(probabilities, "float64")
    if probabilities.ndim != 2:
        raise ValueError(
            "`probabilities` must have shape (images, classes). "
            f"Received: shape={probabilities.shape}"
        )
    labels = check_labels("labels", labels, probabilities.shape[1], len(probabilities))
    check_between_0_and_1(probabilities)
    sums = probabilities.sum(axis=1)
    furthest = np.abs(sums - 1).argmax()
    if abs(sums[furthest] - 1) > 0.02:
        raise ValueError(
            "Every row of `probabilities` must sum to 1 (softmax, not scores of each class by "
            f"itself). Received: row {furthest}, which sums to {sums[furthest]:.4g}"
        )
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = []
    for i in range(bins):
        own = number == i
        rows.append(
            {
                "low": i / bins,
                "high": (i + 1) / bins,
                "images": int(own.sum()),
                "confidence": float(confidence[own].mean()) if own.any() else None,
                "accuracy": float(right[own].mean()) if own.any() else None,
            }
        )
    return rows


def fit_temperature(labels, logits):
    """The temperature with which `softmax(logits / T)` makes labels most likely.

    Photographs that the network was not trained on are needed: on the others it is always right.
    To their cross-entropy that of one photograph is added which might be of any class; without it
    a model that gets all of a few photographs right would be certain of everything.

    Args:
        labels: True classes, integers from 0, shape `(images,)`.
        logits: Floats of shape `(images, classes)`. Logarithms of probabilities will do.

    Returns:
        Float from 0.001 to 1000: above 1 for a model that is too sure of itself. 1.0 where all
        classes have the same logit.

    Raises:
        ValueError: If shapes do not fit together, there is no image, or a logit is not finite.

    Example:

    >>> logits = np.array([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
    >>> fit_temperature([0, 0, 0, 1], logits) > 1
    True
    """
    logits = np.asarray(logits, "float64")
    if logits.ndim != 2:
        raise ValueError(
            f"`logits` must have shape (images, classes). Received: shape={logits.shape}"
        )
    labels = check_labels("labels", labels, logits.shape[1], len(logits))
    if not np.isfinite(logits).all():
        raise ValueError(
            "`logits` must be finite: the model is broken, most likely by a learning rate that was "
            f"too large. Received: {np.sum(~np.isfinite(logits))} that are not"
        )
    spread = np.ptp(logits, axis=1).max()
    if spread == 0:
        return 1.0
    from scipy.optimize import minimize_scalar  # which takes half a second to load

    rows = np.arange(len(labels))

    def loss(log_sharpness):
        of_classes = -log_softmax(logits * np.exp(log_sharpness), axis=1)
        return of_classes[rows, labels].sum() + of_classes.mean()

    # The loss is convex in 1 / T, so it has one minimum in its logarithm, too.
    bounds = np.log(_FLATTEST), np.log(_SHARPEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(-found.x))


def calibrated(scores, temperature, are_logits=True):
    """Probabilities of a model after its temperature: `softmax(logits / T)`.

    Args:
        scores: Floats of shape `(images, classes)`: logits, or else probabilities.
        temperature: Float > 0; 1 changes nothing.
        are_logits: Bool, which of the two. Defaults to `True`.

    Returns:
        Array of the same shape; rows sum to 1.

    Raises:
        ValueError: If `temperature` is no positive number.

    Example:

    >>> calibrated(np.array([[2.0, 0.0]]), temperature=2.0).round(3)
    array([[0.731, 0.269]])
    >>> calibrated(np.array([[0.5, 0.5]]), temperature=2.0, are_logits=False)
    array([[0.5, 0.5]])
    """
    temperature = check_number("temperature", temperature, above=0)
    scores = np.asarray(scores)
    if not np.issubdtype(scores.dtype, np.floating):  # which could not hold the temperature
        scores = scores.astype("float64")
    if not are_logits:
        if temperature == 1:
            return scores
        scores = as_logits(scores)
    return softmax(scores / scores.dtype.type(temperature), axis=1)


def uncalibrated(probabilities, temperature):
    """What probabilities were before a temperature: those of a temperature of 1.

    Args:
        probabilities: Floats of shape `(images, classes)`.
        temperature: Float > 0, with which they were made.

    Returns:
        Array of the same shape.

    Example:

    >>> logits = np.array([[2.0, 0.0]])
    >>> bool(np.allclose(uncalibrated(calibrated(logits, 3.0), 3.0), calibrated(logits, 1.0)))
    True
    """
    return calibrated(np.asarray(probabilities, "float64"), 1 / temperature, are_logits=False)


def answered(labels, probabilities, thresholds=(0.5, 0.7, 0.8, 0.9, 0.95, 0.99)):
    """What a threshold on the confidence costs and gains: `predict --min-confidence`.

    Args:
        labels: True classes, integers from 0, shape `(images,)`.
        probabilities: Floats of shape `(images, classes)`.
        thresholds: Sequence of floats. Defaults to six from 0.5 to 0.99.

    Returns:
        List of dicts, one a threshold: `threshold`; `answered`, float, the share of photographs
        whose confidence reaches it; `accuracy`, of these, or `None` if there are none.

    Example:

    >>> answered([0, 1], np.array([[0.9, 0.1], [0.6, 0.4]]), [0.8])
    [{'threshold': 0.8, 'answered': 0.5, 'accuracy': 1.0}]
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(labels)
    rows = []
    for threshold in thresholds:
        sure = confidence >= threshold
        accuracy = float(right[sure].mean()) if sure.any() else None
        rows.append({"threshold": threshold, "answered": float(sure.mean()), "accuracy": accuracy})
    return rows


def as_logits(probabilities):
    """Logarithms of probabilities, finite also where one is 0.

    Args:
        probabilities: Floats of shape `(images, classes)`.

    Returns:
        Array of the same shape; its softmax is `probabilities`.

    Example:

    >>> as_logits(np.array([[1.0, 0.0]]))[0, 0]
    np.float64(0.0)
    """
    probabilities = np.asarray(probabilities)
    return np.log(np.maximum(probabilities, np.finfo(probabilities.dtype).tiny))
