"""What a gallery knows of classes that its model was not trained on: "none of these", and names."""

import time

import numpy as np

from cin_keras.gallery.calibration import auroc, false_alarms_at_recall
from cin_keras.measuring.tables import markdown_table


def none_of_these_table(scores):
    """How well scores tell photographs of known classes from those of unknown ones, in Markdown.

    Args:
        scores: Dict from names to pairs of floats, `(images,)` of the known and `(other images,)`
            of the unknown.

    Returns:
        Str, a row a score: the area under the receiver operating characteristic, and how many of
        the unknown reach what 95 % of the known reach.

    Example:

    >>> print(none_of_these_table({"means": ([0.9, 0.8], [0.1, 0.85])}).splitlines()[-1])
    | means | 0.750 | 50.0% |
    """
    rows = [
        [name, f"{auroc(*pair):.3f}", f"{false_alarms_at_recall(*pair):.1%}"]
        for name, pair in scores.items()
    ]
    columns = ["none of these, by", "AUROC", "false alarms at 95 % of the known"]
    return markdown_table(columns, rows)


def add_few_to_all(gallery, samples, questions, counts=(1, 5, None), seed=0):
    """How many are named rightly with 1, 5 and all photographs of each new class in a gallery.

    Args:
        gallery: `Gallery` of the known classes, to which `samples` are added, so many as the last
            of `counts` says (to add them is timed); its `by` changes.
        samples: `Samples` of the new classes.
        questions: Pairs of embeddings `(images, width)`, as `Gallery.embed` returns them, and of
            the names of their classes: first of the known classes, then of the new.
        counts: Sequence, not empty, of ints ≥ 1, photographs a class, or `None` for all. Defaults
            to `(1, 5, None)`.
        seed: Int ≥ 0, of which photographs are taken. Defaults to 0.

    Returns:
        `(rows, seconds)`: a list of lists of the count, how classes are named (`"means"`,
        `"nearest"`), and three floats, how many are right of all, of the known and of the new; and
        the float seconds that a photograph took to be added, of the last of `counts`.
    """
    rows = []
    for i, count in enumerate(counts):
        chosen = samples if count is None else samples.limit(count * samples.num_classes, seed=seed)
        begin = time.perf_counter()
        gallery.add(chosen)
        seconds = (time.perf_counter() - begin) / len(chosen)
        for by in ("means", "nearest"):
            gallery.by = by
            right = [
                np.equal(gallery.classify(embeddings).classes, names)
                for embeddings, names in questions
            ]
            shares = [part.mean() for part in (np.concatenate(right), *right)]
            rows.append([count or "all", by, *map(float, shares)])
        if i < len(counts) - 1:
            for name in set(chosen.class_names).intersection(gallery.class_names):
                gallery.remove(name)
    return rows, seconds


def new_classes_table(rows, of_all=None):
    """What `add_few_to_all` found, in Markdown.

    Args:
        rows: Lists, as it returns them.
        of_all: Float in [0, 1], of all photographs, how many a model has right that was trained on
            all classes, for a last row; or `None`. Defaults to `None`.

    Returns:
        Str.

    Example:

    >>> print(new_classes_table([[1, "means", 0.5, 0.75, 0.25]], of_all=0.9))
    | photographs of each new class | by | all | trained | new |
    | --- | --- | --- | --- | --- |
    | 1 | means | 50.0% | 75.0% | 25.0% |
    | trained on all classes | | 90.0% | | |
    """
    cells = [[str(count), by, *(f"{share:.1%}" for share in shares)] for count, by, *shares in rows]
    if of_all is not None:
        cells.append(["trained on all classes", "", f"{of_all:.1%}", "", ""])
    return markdown_table(["photographs of each new class", "by", "all", "trained", "new"], cells)
