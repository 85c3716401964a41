"""How far an accuracy may be off for the number of images it was measured on."""

import math

NORMAL_975 = 1.959963984540054  # 95 % of a normal distribution lie within so many deviations


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
    share, z2 = right / images, NORMAL_975**2
    centre = (share + z2 / (2 * images)) / (1 + z2 / images)
    spread = math.sqrt(share * (1 - share) * z2 / images + (z2 / (2 * images)) ** 2)
    spread /= 1 + z2 / images
    # Exact in theory; without this, the rounding of the root would show.
    low = 0.0 if right == 0 else centre - spread
    high = 1.0 if right == images else centre + spread
    return low, high
