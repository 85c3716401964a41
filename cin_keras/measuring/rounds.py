"""Times of several variants that take turns, so that what disturbs the machine disturbs all."""

import contextlib
import logging
import time

import numpy as np

from cin_keras.progress import progress_bar


def by_turns(variants, rounds, warm_up=0):
    """Calls every variant once a round, and shows how far it is.

    Ctrl-C keeps the rounds that all variants have finished.

    Args:
        variants: Dict from names to functions of one argument, the number of the round from 0.
        rounds: Int ≥ 1.
        warm_up: Int, how often each is called (with round 0) before the first round. Defaults to 0.

    Returns:
        Dict from names to lists of what was returned, one item a round.

    Raises:
        SystemExit: If interrupted before the first round ended.

    Example:

    ```python
    variants = {"sum": lambda number: seconds(sum, values), "max": lambda number: seconds(max, values)}
    times = by_turns(variants, rounds=9, warm_up=1)
    spread(times["sum"])
    ```
    """
    found = {name: [] for name in variants}
    try:
        for run in variants.values():
            for _ in range(warm_up):
                run(0)
        with progress_bar(rounds, "round") as bar:
            for number in range(rounds):
                for name, run in variants.items():
                    found[name].append(run(number))
                bar.update()
    except KeyboardInterrupt:
        finished = min(map(len, found.values()))
        if finished == 0:
            raise SystemExit(
                "\nInterrupted before the first round ended: there is nothing to report."
            ) from None
        print(f"\nInterrupted: the figures are those of {finished} rounds.")
        found = {name: values[:finished] for name, values in found.items()}
    return found


@contextlib.contextmanager
def many_models_are_traced():
    """For a `with` block or a function, in which TensorFlow does not warn that it traces often.

    It counts the calls of a line of code, and so takes one step of each of five models for five
    traces of the same.

    Example:

    ```python
    with many_models_are_traced():
        for model in models:
            model.train_on_batch(x, y)
    ```
    """

    def wanted(record):
        return "triggered tf.function retracing" not in str(record.msg)

    logger = logging.getLogger("tensorflow")
    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def seconds(run, *args, times=1):
    """How long a call takes.

    Args:
        run: Function.
        *args: Its arguments.
        times: Int ≥ 1, how often it is called. Defaults to 1.

    Returns:
        Float, seconds of one call.

    Example:

    >>> seconds(sum, [1, 2, 3], times=5) < 1
    True
    """
    start = time.perf_counter()
    for _ in range(times):
        run(*args)
    return (time.perf_counter() - start) / times


def spread(values):
    """Median and quartiles of what was measured in several rounds.

    Args:
        values: Numbers, one a round.

    Returns:
        Dict: `median`, `quartiles` (the first and the third) and `rounds`, their number.

    Example:

    >>> spread([1, 2, 3, 4, 10])
    {'median': 3.0, 'quartiles': [2.0, 4.0], 'rounds': 5}
    """
    low, median, high = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": median, "quartiles": [low, high], "rounds": len(values)}


def summarize(found):
    """Medians and quartiles of all that several variants measured.

    Args:
        found: Dict from names to lists of dicts, one a round, from columns to numbers: what
            `by_turns` returns for functions that return dicts.

    Returns:
        Dict from names to dicts from columns to what `spread` returns.

    Example:

    >>> summarize({"bare": [{"images/s": 3}, {"images/s": 5}]})["bare"]["images/s"]["median"]
    4.0
    """
    return {
        name: {column: spread([r[column] for r in rounds]) for column in rounds[0]}
        for name, rounds in found.items()
    }
