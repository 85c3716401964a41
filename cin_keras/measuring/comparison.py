"""Rows of a comparison, each trained from several seeds at the learning rate that suits it."""


def run_rows(results, rows, seeds, samples, rates, identity, measure):
    """The runs of every row, made now where they are not among the results already.

    The learning rate of a row is the best of its trials, on one half of the training images after
    training on the other; where there is one rate alone, there is no trial.

    Args:
        results: `Results`, to which every trial and run is added.
        rows: Sequence of str.
        seeds: Int ≥ 1, runs of each row.
        samples: `Samples` to train on, and to test on.
        rates: Dict from rows to sequences of learning rates to choose from.
        identity: Dict from rows to dicts of what a row is: who changes it does not get the results
            of what it was.
        measure: Function of `kind` (`"trial"` or `"run"`), `row`, learning rate, seed, and a pair
            of `Samples`, which returns a dict with the `accuracy`.

    Returns:
        Dict from rows to lists of records.

    Example:

    >>> import tempfile
    >>> results = cin_keras.measuring.Results(tempfile.mkdtemp() + "/results.jsonl", {})
    >>> cars = cin_keras.data.drawn_cars(images_per_class=2, image_size=32)
    >>> def measure(kind, row, rate, seed, samples):
    ...     return {"accuracy": 1 - rate}
    >>> rates, identity = {"plain": [0.1, 0.2]}, {"plain": {}}
    >>> runs = run_rows(results, ["plain"], 2, (cars, cars), rates, identity, measure)
    >>> [(run["learning_rate"], run["seed"]) for run in runs["plain"]]
    [(0.1, 0), (0.1, 1)]
    """

    def once(kind, row, rate, samples, **seed):
        key = {"kind": kind, "row": row, "learning_rate": rate, **identity[row], **seed}
        return results.once(key, lambda: measure(kind, row, rate, seed.get("seed", 0), samples))

    def best_rate(row):
        if len(rates[row]) == 1:
            return rates[row][0]
        halves = samples[0].split(0.5)
        return max(rates[row], key=lambda rate: once("trial", row, rate, halves)["accuracy"])

    runs = {}
    for seed in range(seeds):
        for row in rows:
            rate = best_rate(row)
            once("run", row, rate, samples, seed=seed)
            runs[row] = results.find(kind="run", row=row, learning_rate=rate, **identity[row])
    return runs


def freeze_to(network, name):
    """Freezes the layers of a network from the first to the one of a name.

    Args:
        network: `keras.Model`.
        name: Str, or `None` for no layer.

    Raises:
        ValueError: If there is no such layer.

    Example:

    >>> network = cin_keras.models.small_backbone.small_backbone(32)
    >>> freeze_to(network, network.layers[1].name)
    >>> [layer.trainable for layer in network.layers[:3]]
    [False, False, True]
    """
    names = [layer.name for layer in network.layers]
    if name is not None and name not in names:
        raise ValueError(f"no layer {name!r} in the backbone: {', '.join(names)}")
    for layer in network.layers[: names.index(name) + 1 if name is not None else 0]:
        layer.trainable = False
