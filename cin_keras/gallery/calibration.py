"""From which similarity on a photograph is of a known class, and what that costs."""

import dataclasses
import os

import numpy as np

from cin_keras.checks import check_number, short
from cin_keras.text import plural


@dataclasses.dataclass(frozen=True)
class GalleryCalibration:
    """What `Gallery.calibrate` has found; `print` says it in sentences.

    Args:
        threshold: Float, the similarity below which a photograph is of none of the classes.
        false_alarm_rate: Float in [0, 1], of the unknown photographs, how many are taken for a
            known class all the same.
        known_refused: Float in [0, 1], of the known photographs, how many are said to be none.
        accuracy: Float in [0, 1], of the known photographs, how many are named rightly.
        accuracy_without: Float in [0, 1], how many are without a threshold.
        auroc: Float in [0, 1], how often a known photograph has a higher similarity than an
            unknown one.
        false_alarms_at_95: Float in [0, 1], the false-alarm rate of the threshold that accepts 95 %
            of the known.
        known: Int, how many photographs of known classes were looked at.
        unknown: Int, how many unknown ones.
        pretended: Bool, whether the unknown ones are the known, each compared with the gallery
            without its own class.
    """

    threshold: float
    false_alarm_rate: float
    known_refused: float
    accuracy: float
    accuracy_without: float
    auroc: float
    false_alarms_at_95: float
    known: int
    unknown: int
    pretended: bool

    def __str__(self):
        unknown = (
            f"{plural(self.unknown, 'photograph')}, each without its own class in the gallery"
            if self.pretended
            else f"{plural(self.unknown, 'photograph')} of other classes"
        )
        return (
            f"Below a similarity of {self.threshold:.3f} a photograph is of none of these. Of "
            f"{unknown}, {self.false_alarm_rate:.1%} are still taken for one. Of {self.known} known "
            f"ones, {self.known_refused:.1%} are refused; {self.accuracy:.1%} are named rightly, "
            f"{self.accuracy_without:.1%} without the threshold. AUROC {self.auroc:.3f}, false "
            f"alarms at 95% of the known {self.false_alarms_at_95:.1%}."
        )


def check_photographs(samples, paths, class_names):
    """Raises ValueError for photographs that a gallery cannot be calibrated by.

    Args:
        samples: `Samples`, the photographs to calibrate by.
        paths: Sequence of str, the gallery's photographs.
        class_names: Sequence of str, its classes.

    Example:

    >>> from cin_keras.data import Samples
    >>> samples = Samples(["new.jpg"], [0], ["cat"])
    >>> check_photographs(samples, ["a.jpg", "b.jpg"], ["cat", "dog"])
    """
    if len(class_names) < 2:
        raise ValueError(
            "To calibrate, the gallery must have photographs of two classes. "
            f"Received: {list(class_names)}"
        )
    here = set(map(os.path.abspath, paths))
    again = [path for path in samples.paths if os.path.abspath(path) in here]
    if again:
        raise ValueError(
            "`samples` must be photographs that are not in the gallery, which it knows too well. "
            f"Received: {again[0]!r} ({plural(len(again), 'such photograph')})"
        )
    used = {samples.class_names[label] for label in np.unique(samples.labels)}
    if not used & set(class_names):
        raise ValueError(
            "No photograph is of a class that the gallery has. Received: classes "
            f"{short(sorted(used))} for a gallery of {short(list(class_names))}"
        )


def choose_threshold(unknown, false_alarm_rate):
    """The lowest threshold that no more than a share of the unknown reaches.

    Args:
        unknown: Floats `(images,)`, similarities of unknown photographs.
        false_alarm_rate: Float in [0, 1].

    Returns:
        Float.

    Example:

    >>> round(choose_threshold(np.array([0.1, 0.5, 0.9, 0.3]), 0.25), 6)
    0.5
    """
    false_alarm_rate = check_number("false_alarm_rate", false_alarm_rate, least=0, most=1)
    falling = np.sort(np.asarray(unknown, "float32"))[::-1]
    allowed = int(false_alarm_rate * len(falling) + 1e-9)
    if allowed >= len(falling):
        return -1.0
    # Of equal similarities either all or none are accepted.
    return float(np.nextafter(falling[allowed], np.float32(2)))


def auroc(known, unknown):
    """How often a known photograph has a higher score than an unknown one; ties count half.

    The area under the receiver operating characteristic, by ranks (Mann and Whitney, 1947).

    Args:
        known: Floats `(images,)`.
        unknown: Floats `(other images,)`.

    Returns:
        Float in [0, 1]; 0.5 is chance.

    Example:

    >>> auroc([0.9, 0.8], [0.1, 0.85])
    0.75
    """
    from scipy.stats import rankdata  # which takes a second to load

    known, unknown = np.asarray(known), np.asarray(unknown)
    ranks = rankdata(np.concatenate([known, unknown]))[: len(known)]
    above = ranks.sum() - len(known) * (len(known) + 1) / 2
    return float(above / (len(known) * len(unknown)))


def false_alarms_at_recall(known, unknown, recall=0.95):
    """The share of unknown photographs that reach what `recall` of the known reach.

    Args:
        known: Floats `(images,)`.
        unknown: Floats `(other images,)`.
        recall: Float in (0, 1]. Defaults to 0.95.

    Returns:
        Float in [0, 1].

    Example:

    >>> false_alarms_at_recall(np.array([0.5, 0.6, 0.7, 0.8]), np.array([0.1, 0.55]), recall=1.0)
    0.5
    """
    falling = np.sort(np.asarray(known))[::-1]
    threshold = falling[max(int(np.ceil(recall * len(falling) - 1e-9)), 1) - 1]
    return float(np.mean(np.asarray(unknown) >= threshold))
