"""Anchors: the boxes that a Navigator can choose from, constants of a network's input size.

Yang et al., "Learning to Navigate for Fine-grained Classification", ECCV 2018: three levels of
boxes, each with twice the stride of the one before.
"""

import math

import numpy as np

RATIOS = (0.667, 1.0, 1.5)  # width to height
# Factors on the side of a level's boxes, a square of which is 1.5 strides wide at a factor of 1.
SCALES = (
    (2 ** (1 / 3), 2 ** (2 / 3)),
    (2 ** (1 / 3), 2 ** (2 / 3)),
    (1.0, 2 ** (1 / 3), 2 ** (2 / 3)),
)
BASE = 1.5
MOST_POSITIONS = 100_000  # of a map, as of images of 10,000×10,000 pixels


def map_stride(image_size, map_size):
    """Pixels between two positions of a map: the power of two next to image size / map size.

    Args:
        image_size: `(height, width)` in pixels.
        map_size: `(height, width)` in positions.

    Example:

    >>> map_stride((448, 448), (14, 14)), map_stride((100, 100), (4, 4))
    (32, 32)
    """
    (height, width), (rows, columns) = image_size, map_size
    return 2 ** max(round(math.log2(height * width / (rows * columns)) / 2), 0)


def part_anchors(image_size, map_size):
    """All boxes for an image, row by row of each level in turn, scales before ratios.

    Level `k` from 0 has a stride of `2^k` times the map's; its boxes stand around the middle of
    every stride, `base · scale / √ratio` high and `base · scale · √ratio` wide with a `base` of 1.5
    strides. At 448 pixels and a stride of 32 these are 1,614 boxes with sides of 49 to 373 pixels.
    They may reach beyond the border.

    Args:
        image_size: `(height, width)` in pixels.
        map_size: `(height, width)` of the backbone's map.

    Returns:
        float32 array `(boxes, 4)`: top, left, bottom and right in pixels, 0 being the outer edge of
        the first one.

    Raises:
        ValueError: For a map of more than 100,000 positions.

    Example:

    >>> part_anchors((448, 448), (14, 14)).shape
    (1614, 4)
    """
    if math.prod(map_size) > MOST_POSITIONS:
        raise ValueError(
            f"The boxes of a map of more than {MOST_POSITIONS:,} positions are not made. Received: "
            f"a map of {map_size[0]}×{map_size[1]} for images of {image_size[0]}×{image_size[1]}"
        )
    step, size = map_stride(image_size, map_size), tuple(map_size)
    boxes = []
    for scales in SCALES:
        for row, column in np.ndindex(size):
            middle = np.array([step * (row + 0.5), step * (column + 0.5)])
            for scale in scales:
                for ratio in RATIOS:
                    sides = BASE * step * scale * np.array([ratio**-0.5, ratio**0.5])
                    boxes.append([*(middle - sides / 2), *(middle + sides / 2)])
        step, size = 2 * step, tuple(math.ceil(side / 2) for side in size)
    return np.array(boxes, "float32")


def overlaps(box, boxes):
    """Intersection over union of one box with each of several, in NumPy.

    Args:
        box: `(4,)`, top, left, bottom, right.
        boxes: `(boxes, 4)`.

    Returns:
        Array `(boxes,)`.

    Example:

    >>> overlaps(np.array([0, 0, 2, 2]), np.array([[0, 0, 2, 2], [0, 1, 2, 3], [2, 2, 3, 3]])).tolist()
    [1.0, 0.3333333333333333, 0.0]
    """
    near, far = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(far - near, 0), axis=1)
    areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (box, boxes)]
    return shared / (areas[0] + areas[1] - shared)


def check_room(anchors, parts, overlap, image_size):
    """ValueError unless `parts` of the anchors can be chosen that hardly overlap.

    Args:
        anchors: What `part_anchors` returned.
        parts: Int.
        overlap: Float, from which intersection over union on two are not both chosen.
        image_size: `(height, width)`, for the message.
    """
    chosen = []
    # Small boxes first: most of these stand beside each other.
    areas = np.prod(anchors[:, 2:] - anchors[:, :2], axis=1)
    for box in anchors[np.argsort(areas, kind="stable")]:
        if not chosen or overlaps(box, np.array(chosen)).max() < overlap:
            chosen.append(box)
        if len(chosen) == parts:
            return
    raise ValueError(
        f"An image of {image_size[0]}×{image_size[1]} pixels is too small for {parts} parts that "
        f"overlap less than {overlap}: there is room for {len(chosen)}. Take larger images "
        "(`input_shape`), a `feature_layer` of a finer map, or fewer `parts`. "
        f"Received: parts={parts}"
    )
