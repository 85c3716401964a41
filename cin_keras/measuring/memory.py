"""Memory that was taken: by a process, by an accelerator, by Python's objects."""

import itertools
import pathlib
import subprocess
import sys
import tracemalloc

import keras
from tqdm import tqdm

from cin_keras.measuring.machine import accelerator
from cin_keras.measuring.tables import markdown_table
from cin_keras.progress import progress_bar


def measure_memory(command, names, pair_counts):
    """Peak memory of training in megabytes, every figure by a process of its own.

    Ctrl-C leaves gaps.

    Args:
        command: List of str, a command that trains and prints `peak_megabytes` last, given two more
            options: `--peak-of NAME` and `--pairs-per-batch N`.
        names: Sequence of str.
        pair_counts: Sequence of ints ≥ 1.

    Returns:
        Dict from names to dicts from numbers of pairs to megabytes, `None` where it failed.
    """
    peaks = {name: dict.fromkeys(pair_counts) for name in names}
    todo = list(itertools.product(pair_counts, names))
    try:
        with progress_bar(len(todo), "measurement") as bar:
            for pairs, name in todo:
                own = ["--peak-of", name, "--pairs-per-batch", str(pairs)]
                try:
                    peaks[name][pairs] = last_number([*command, *own])
                except RuntimeError as error:
                    tqdm.write(f"{name} with {pairs} pairs failed {error}")
                bar.update()
    except KeyboardInterrupt:
        print("\nInterrupted: the table of the memory has gaps.")
    return peaks


def last_number(command):
    """Float, the last word that a process prints; RuntimeError with its last message if it fails."""
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode != 0:
        reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"({child.returncode}): {reason}")
    return float(child.stdout.split()[-1])


def memory_table(memory):
    """What `measure_memory` returned in Markdown, a column for every number of pairs.

    Example:

    >>> print(memory_table({"CIN": {1: 3217.4, 2: None}}))
    | peak memory of training, MB | 1 pairs | 2 pairs |
    | --- | --- | --- |
    | CIN | 3217 | – |
    """
    counts = next(iter(memory.values()))
    rows = [
        [name, *("–" if peak is None else f"{peak:.0f}" for peak in peaks.values())]
        for name, peaks in memory.items()
    ]
    return markdown_table(["peak memory of training, MB", *(f"{n} pairs" for n in counts)], rows)


def peak_megabytes():
    """Float, the most memory held so far: the accelerator's if there is one, else the process's."""
    backend = keras.backend.backend()
    if accelerator() is None:
        return peak_resident_megabytes()
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 1e6
    if backend == "jax":
        import jax

        statistics = jax.local_devices()[0].memory_stats()  # not every kind of device counts
        return statistics["peak_bytes_in_use"] / 1e6 if statistics else peak_resident_megabytes()
    import tensorflow as tf

    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 1e6


def peak_resident_megabytes():
    """Float, the most memory that this process has held.

    Example:

    >>> peak_resident_megabytes() > 10
    True
    """
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except OSError:
        # Not on Linux, where a child process inherits its parent's maximum.
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def bytes_of_python(make, use=None):
    """How much memory Python's objects take, what was there before not counted.

    Args:
        make: Function without arguments that returns an object.
        use: Function of that object, or `None`. Defaults to `None`.

    Returns:
        `(held, peak)`, ints: the bytes that the object holds, and the most held during `use`.

    Example:

    >>> held, peak = bytes_of_python(lambda: bytearray(1000), lambda text: text * 3)
    >>> 1000 < held < 2000 and 4000 < peak < 6000
    True
    """
    tracemalloc.start()
    try:
        made = make()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        if use is not None:
            use(made)
        return held, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
