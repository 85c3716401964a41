"""Rows of a comparison, each trained from several seeds at the learning rate that suits it."""

import time

import keras

from cin_keras.checks import short
from cin_keras.data import SetEpoch
from cin_keras.losses import SoftmaxCrossentropy
from cin_keras.measuring.rows import own_settings
from cin_keras.training import make_optimizer


def run_rows(
    results, seeds, samples, rates, identity, train, score, epochs, trial_epochs, trial_seeds=1
):
    """The runs of every row, made now where they are not among the results already.

    The learning rate of a row is the best of its trials, on one half of the training images after
    training on the other; where there is one rate alone, there is no trial.

    Args:
        results: `Results`, to which every trial and run is added.
        seeds: Int ≥ 0, runs of each row; 0 for trials alone, then also of a single rate.
        samples: `Samples` to train on, and to test on.
        rates: Dict from rows to sequences of learning rates to choose from.
        identity: Dict from rows to dicts of what a row is: who changes it does not get the results
            of what it was.
        train: Function of row, `Samples`, learning rate, epochs and seed that returns a model.
        score: Function of a model and `Samples` that returns a dict with its `accuracy`.
        epochs: Int ≥ 1, of a run.
        trial_epochs: Int ≥ 1, of a trial.
        trial_seeds: Int ≥ 1, trials of each row and rate, whose mean decides. Defaults to 1.

    Returns:
        Dict from rows to lists of records: of what, what was scored, and the `seconds` it took.

    Example:

    ```python
    results = cin_keras.measuring.results.Results("runs/ablation/results.jsonl", {"image_size": 64})
    rates, identity = {"plain": [0.01, 0.02]}, {"plain": {"interaction": None}}
    runs = run_rows(results, 3, (train, test), rates, identity, train_model, score_model, 10, 5)
    runs["plain"][0]["accuracy"]
    ```
    """

    def measure(kind, row, rate, parts, seed):
        seed = seed or 0
        print(f"\n{row}, {kind} with seed {seed} and learning rate {rate:g}")
        started = time.time()
        model = train(row, parts[0], rate, epochs if kind == "run" else trial_epochs, seed)
        seconds = round(time.time() - started)
        scores = score(model, parts[1])
        print(f"{row}: {scores['accuracy']:.1%} of {len(parts[1])} images right")
        return {"seconds": seconds, **scores}

    def once(kind, row, rate, parts, **seed):
        key = {"kind": kind, "row": row, "learning_rate": rate, **identity[row], **seed}
        return results.once(key, lambda: measure(kind, row, rate, parts, **seed))

    def best_rate(row):
        if len(rates[row]) == 1 and seeds:
            return rates[row][0]
        halves = samples[0].split(0.5)

        def accuracy(rate):
            numbers = [None, *range(1, trial_seeds)]  # the first has none in older results
            trials = [once("trial", row, rate, halves, seed=number) for number in numbers]
            return sum(trial["accuracy"] for trial in trials) / len(trials)

        return max(rates[row], key=accuracy)

    runs = {}
    if seeds == 0:
        for row in rates:
            best_rate(row)
    for seed in range(seeds):
        for row in rates:
            rate = best_rate(row)
            once("run", row, rate, samples, seed=seed)
            runs[row] = results.find(kind="run", row=row, learning_rate=rate, **identity[row])
    return runs


def finished(results, kind, identity, rates=None):
    """The runs or the trials that there are already. Prints how many are of rows that have changed.

    Args:
        results: `Results`.
        kind: `"run"` or `"trial"`.
        identity: Dict from rows to dicts of what a row is, as for `run_rows`.
        rates: Dict from rows to the learning rates that count, or `None` for all. Defaults to
            `None`.

    Returns:
        List of the records of these rows as they are now, in the order in which they were made.

    Raises:
        ValueError: If there is none.

    Example:

    >>> import tempfile
    >>> from cin_keras.measuring.results import Results
    >>> results = Results(tempfile.mkdtemp() + "/results.jsonl", {})
    >>> for scale in (1.0, 0.1):
    ...     results.add(kind="run", row="SCI", scale=scale, learning_rate=0.02, accuracy=0.5)
    >>> len(finished(results, "run", {"SCI": {"scale": 0.1}}))
    Left out, from before the row became what it is: SCI (1)
    1
    """
    records, changed = [], {}
    for record in results.find(kind=kind):
        row, rate = record["row"], record["learning_rate"]
        if row not in identity or (rates is not None and rate not in rates[row]):
            continue
        if identity[row].items() <= record.items():
            records.append(record)
        else:
            changed[row] = changed.get(row, 0) + 1
    if changed:
        left = ", ".join(f"{row} ({count})" for row, count in changed.items())
        print(f"Left out, from before the row became what it is: {left}")
    if not records:
        raise ValueError(
            f"{results.path} holds no {kind} of these rows as they are now, at these rates. "
            f"Received: rows {short(list(identity))}, rates {'any' if rates is None else short(rates)}"
        )
    return records


def best_runs(runs):
    """Of every row the runs at the learning rate with most of them, of equally many the best.

    Args:
        runs: List of records, as `finished` returns them.

    Returns:
        Dict from rows to lists of records, of each seed the last; the most accurate row first.

    Example:

    >>> runs = [{"row": "plain", "learning_rate": r, "seed": 0, "accuracy": 1 - r} for r in (0.1, 0.2)]
    >>> best_runs(runs)["plain"][0]["learning_rate"]
    0.1
    """

    def mean(of_seeds):
        return sum(run["accuracy"] for run in of_seeds.values()) / len(of_seeds)

    rows = {}
    for run in runs:
        rates = rows.setdefault(run["row"], {})
        rates.setdefault(run["learning_rate"], {})[run["seed"]] = run
    best = {
        row: max(rates.values(), key=lambda of_seeds: (len(of_seeds), mean(of_seeds)))
        for row, rates in rows.items()
    }
    order = sorted(best, key=lambda row: mean(best[row]), reverse=True)
    return {row: list(best[row].values()) for row in order}


def train_row(
    row, samples, learning_rate, epochs, seed, reader, backbone, weight_decay, label_smoothing
):
    """Trains a row from a seed, by the budget of all rows and what the row needs of its own.

    All rows see the same images in one order.

    Args:
        row: Str, of `cin_keras.measuring.rows.ROWS`.
        samples: `Samples` to train on.
        learning_rate: Float > 0, at the beginning.
        epochs: Int ≥ 1.
        seed: Int ≥ 0, of weights, order and crops.
        reader: One of `cin_keras.measuring.readers`, which makes the model and its pairs.
        backbone: Str, by whose name the optimizer is chosen; see `cin_keras.training.make_optimizer`.
        weight_decay: Float ≥ 0, of the rows that have none of their own.
        label_smoothing: Float in [0, 1), likewise.

    Returns:
        `CIN` or `NTS`.
    """
    keras.utils.set_random_seed(seed)
    own = own_settings(row, backbone)
    settings = {"weight_decay": weight_decay, "label_smoothing": label_smoothing}
    settings |= own.get("recipe", {})
    model, pairs = reader.model(row, samples.num_classes), reader.pairs(samples, seed)
    decay, rates = settings["weight_decay"], own["rates"]
    optimizer = make_optimizer(learning_rate, epochs, len(pairs), decay, backbone, rates)
    loss = SoftmaxCrossentropy(label_smoothing=settings["label_smoothing"])
    model.compile(optimizer, loss, metrics=["accuracy"])
    callbacks = [SetEpoch(pairs)] if hasattr(pairs, "epochs") else []
    model.fit(pairs, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=2)
    return model
