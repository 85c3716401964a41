"""Classes of classes: the make of a model of car, the family of a variant of aircraft."""

import numpy as np

from cin_keras.checks import check_names, short


def check_hierarchy(hierarchy, class_names):
    """Returns a hierarchy as a dict of tuples, `None` for `None` and for no level.

    Args:
        hierarchy: Dict from the name of a level, the coarsest first, to a sequence of str, for each
            class the group that it is in; or `None`. The classes themselves are no level of it.
        class_names: Sequence of str.

    Raises:
        ValueError: If it is no such dict, a level has another number of entries, or a group of a
            level is parted by a coarser one.

    Example:

    >>> check_hierarchy({"make": ["Audi", "Audi", "BMW"]}, ["A4", "TT", "M3"])
    {'make': ('Audi', 'Audi', 'BMW')}
    """
    if hierarchy is None or hierarchy == {}:
        return None
    named = isinstance(hierarchy, dict) and all(isinstance(n, str) and n.strip() for n in hierarchy)
    if not named:
        raise ValueError(
            "`hierarchy` must be a dict from the name of a level to the group of each class, or "
            f"None. Received: hierarchy={short(hierarchy)}"
        )
    checked, coarser = {}, None
    for level, groups in hierarchy.items():
        groups = check_names(f"hierarchy[{level!r}]", groups)
        if len(groups) != len(class_names):
            raise ValueError(
                f"`hierarchy[{level!r}]` must hold one group for each of the {len(class_names)} "
                f"classes. Received: {len(groups)}"
            )
        if coarser is not None:
            above = {}
            for group, other in zip(groups, checked[coarser]):
                if above.setdefault(group, other) != other:
                    raise ValueError(
                        f"The levels of `hierarchy` must come from the coarsest to the finest. "
                        f"Received: {level} {group!r} in two of {coarser}, {above[group]!r} and "
                        f"{other!r}"
                    )
        checked[level], coarser = groups, level
    return checked


def group_probabilities(probabilities, groups):
    """The probability of each group: the sum of its classes'.

    Args:
        probabilities: Array `(images, classes)`.
        groups: Sequence of str, the group of each class.

    Returns:
        `(names, sums)`: tuple of str, in the order in which they come, and an array
        `(images, groups)`.

    Example:

    >>> group_probabilities(np.array([[0.5, 0.2, 0.3]]), ["Audi", "Audi", "BMW"])
    (('Audi', 'BMW'), array([[0.7, 0.3]]))
    """
    names = tuple(dict.fromkeys(groups))
    number = {name: i for i, name in enumerate(names)}
    members = np.zeros((len(groups), len(names)), np.asarray(probabilities).dtype)
    members[np.arange(len(groups)), [number[group] for group in groups]] = 1
    return names, probabilities @ members


def levels_of(probabilities, hierarchy):
    """The most probable group of one image on every level.

    Args:
        probabilities: Array `(classes,)`.
        hierarchy: As from `check_hierarchy`; `None` has no level.

    Returns:
        Dict from each level, the coarsest first, to a dict of `class` (str, the group) and
        `probability` (float of six digits: sums of many small numbers miss a round one by little).

    Example:

    >>> levels_of(np.array([0.5, 0.2, 0.3]), {"make": ("Audi", "Audi", "BMW")})
    {'make': {'class': 'Audi', 'probability': 0.7}}
    """
    found = {}
    for level, groups in (hierarchy or {}).items():
        names, sums = group_probabilities(probabilities[None], groups)
        best = int(sums[0].argmax())
        found[level] = {"class": names[best], "probability": round(float(sums[0, best]), 6)}
    return found
