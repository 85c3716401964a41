"""How many of a classifier's predictions are right: in all, per class, and how sure that is."""

import numpy as np

from cin_keras.checks import check_labels
from cin_keras.data.hierarchy import group_probabilities


def evaluate_predictions(labels, probabilities, class_names):
    """Accuracy, top-5 accuracy and accuracy per class.

    Args:
        labels: True classes, integers from 0, shape `(images,)`.
        probabilities: Scores (probabilities or logits), shape `(images, classes)`.
        class_names: Sequence of str, one a class.

    Returns:
        Dict: `accuracy` and `top_5_accuracy`, floats in [0, 1] (top 5, or all classes where there
        are fewer); `images`, int; `per_class`, a list of dicts with `name`, `images` and
        `accuracy` (`None` for a class without an image).

    Raises:
        ValueError: If shapes do not fit together, there is no image, or a score is not finite.

    Example:

    >>> scores = np.array([[0.9, 0.1], [0.8, 0.2]])
    >>> evaluate_predictions([0, 1], scores, ["cat", "dog"])["accuracy"]
    0.5
    """
    labels = check_labels("labels", labels, len(class_names))
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (len(labels), len(class_names)):
        raise ValueError(
            "`probabilities` must have shape (images, classes), one row a label and one column a "
            f"class name, {(len(labels), len(class_names))}. "
            f"Received: probabilities.shape={probabilities.shape}"
        )
    finite = np.isfinite(probabilities).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{np.sum(~finite)} of {len(labels)} predictions are not finite: the model is broken, "
            "most likely by a learning rate that was too large."
        )
    order = np.argsort(-probabilities, axis=1, kind="stable")
    hits = order == labels[:, None]
    per_class = []
    for label, name in enumerate(class_names):
        own = hits[labels == label, 0]
        accuracy = float(own.mean()) if len(own) else None
        per_class.append({"name": name, "images": len(own), "accuracy": accuracy})
    return {
        "accuracy": float(hits[:, 0].mean()),
        "top_5_accuracy": float(hits[:, :5].any(axis=1).mean()),
        "images": len(labels),
        "per_class": per_class,
    }


def accuracy_of_levels(labels, probabilities, hierarchy):
    """How many images are in the right group, on every level above the classes.

    The group of an image is that with the highest sum of its classes' probabilities, which need not
    be that of the most probable class.

    Args:
        labels: True classes, integers from 0, shape `(images,)`.
        probabilities: Floats `(images, classes)`, no logits.
        hierarchy: Dict, as for `cin_keras.data.Samples`, or `None`.

    Returns:
        Dict from each level, the coarsest first, to a dict of `groups`, int, `right`, int, and
        `accuracy`, float.

    Example:

    >>> scores = np.array([[0.3, 0.3, 0.4]])
    >>> accuracy_of_levels([0], scores, {"make": ["Audi", "Audi", "BMW"]})["make"]
    {'groups': 2, 'right': 1, 'accuracy': 1.0}
    """
    levels = {}
    for level, groups in (hierarchy or {}).items():
        names, sums = group_probabilities(np.asarray(probabilities), groups)
        number = np.array([names.index(group) for group in groups])
        right = sums.argmax(axis=1) == number[np.asarray(labels)]
        levels[level] = {
            "groups": len(names),
            "right": int(right.sum()),
            "accuracy": float(right.mean()),
        }
    return levels


def accuracy_in_words(metrics, images):
    """How many images were right, and how many within the first five, where five say something.

    Args:
        metrics: Dict, as from `evaluate_predictions`.
        images: Str, what the images are called, in the plural.

    Returns:
        Str.

    Example:

    >>> names = ["cat", "dog"]
    >>> metrics = evaluate_predictions([0, 1], np.array([[0.9, 0.1], [0.8, 0.2]]), names)
    >>> accuracy_in_words(metrics, "photographs")
    '50.0% of 2 photographs right'
    """
    words = f"{metrics['accuracy']:.1%} of {metrics['images']} {images} right"
    if len(metrics["per_class"]) > 5:
        words += f" ({metrics['top_5_accuracy']:.1%} within five)"
    for level, each in metrics.get("levels", {}).items():
        words += f", {each['accuracy']:.1%} of {level}"
    return words


def wilson_interval(right, images):
    """The 95 % confidence interval of an accuracy.

    Wilson's score interval ("Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 1927): the accuracies that
    this result does not contradict at the 5 % level. It stays within [0, 1] and says something
    where every image was right, too. The images count as independent.

    Args:
        right: Int, 0 to `images`: how many images were right.
        images: Int ≥ 0, of how many.

    Returns:
        `(low, high)`, floats in [0, 1]; `(0.0, 1.0)` without an image.

    Raises:
        ValueError: If `right` is not between 0 and `images`.

    Example:

    >>> [round(end, 3) for end in wilson_interval(90, 100)]
    [0.826, 0.945]
    """
    if not 0 <= right <= images:
        raise ValueError(
            "`right` must be a number of images from 0 to `images`. "
            f"Received: right={right}, images={images}"
        )
    if images == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # which takes a second to load

    low, high = binomtest(right, images).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def checked_probabilities(probabilities, samples):
    """`probabilities` as an array of float64; ValueError unless one in [0, 1] for each class."""
    probabilities = np.asarray(probabilities, "float64")
    expected = (len(samples), samples.num_classes)
    if probabilities.shape != expected:
        raise ValueError(
            f"`probabilities` must have shape (samples, classes) = {expected}. "
            f"Received: shape={probabilities.shape}"
        )
    check_between_0_and_1(probabilities)
    return probabilities


def check_between_0_and_1(probabilities):
    """Raises ValueError unless all are in [0, 1]; half-precision models may end a little above."""
    if not ((probabilities >= 0) & (probabilities <= 1.01)).all():
        raise ValueError(
            "`probabilities` must lie in [0, 1] (softmax, not logits). Received: values from "
            f"{probabilities.min():.4g} to {probabilities.max():.4g}"
        )
