"""Processes on JAX that lose each other; that they train as one device tests test_training."""

import os
import pathlib
import signal

import keras
import numpy as np
import pytest

from cin_keras.distribution import distribute
from cin_keras.distribution.hosts import (
    LAUNCHED,
    LAUNCHERS,
    PROCESSES,
    HostReplicas,
    asks_for_several,
)
from cin_keras.distribution.replicas import LOST, Replicas, is_lost
from tests import processes
from tests.distribution import hosts

ROOT = pathlib.Path(__file__).parents[2]
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX' processes")


def run_and_kill(folder, killed):
    """Standard output, standard error and exit status of the process that is left."""
    running = [
        processes.Started(
            "-m",
            "tests.distribution.hosts",
            killed,
            cwd=ROOT,
            env={**os.environ, **hosts.environment(folder, process), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for process in range(2)
    ]
    try:
        found = running[1 - killed].communicate(timeout=200)
        return *found, running[1 - killed].returncode
    finally:
        for process in running:
            process.kill()


@on_jax
@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_ends_where_another_is_gone(tmp_path, killed):
    output, errors, status = run_and_kill(tmp_path, killed)
    # Where the first is gone, JAX may notice first, and ends the process itself.
    by_jax = killed == 0 and status == -signal.SIGABRT and "another task died" in errors
    assert by_jax or status == 1 and f"error: {LOST}" in errors, (status, output, errors)


@on_jax
@pytest.mark.every_backend(all_cases=True)
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("JOB_ADDRESSES", "", "NUM_PROCESSES go .* Received: no KERAS_DISTRIBUTION_JOB_ADDRESSES$"),
        ("PROCESS_ID", "2", "PROCESS_ID must be from 0 to 1, as .* Received: 2$"),
        ("PROCESS_ID", "", "NUM_PROCESSES go .* Received: no KERAS_DISTRIBUTION_PROCESS_ID$"),
        ("JOB_ADDRESSES", "h1", "JOB_ADDRESSES must begin with .* port, as in .* Received: h1$"),
        ("NUM_PROCESSES", "two", "NUM_PROCESSES must be a number. Received: two$"),
        ("NUM_PROCESSES", "0", "NUM_PROCESSES must be a number of at least 1. Received: 0$"),
        ("NUM_PROCESSES", "", "JOB_ADDRESSES and .*_ID goes .* Received: no KERAS_DISTRIBUTION_NUM"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(monkeypatch, tmp_path, name, value, sentence):
    for variable, right in hosts.environment(tmp_path, 1).items():
        monkeypatch.setenv(variable, right)
    monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    with pytest.raises(ValueError, match=f"KERAS_DISTRIBUTION_{sentence}"):
        with distribute():
            pass


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({}, False),
        ({"KERAS_DISTRIBUTION_NUM_PROCESSES": "1"}, False),
        ({"KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}, True),
        ({"SLURM_NTASKS": "4", "SLURM_STEP_NODELIST": "n[1-4]"}, True),
        ({"SLURM_NTASKS": "4"}, False),  # salloc without srun
        ({"SLURM_NTASKS": "1", "SLURM_STEP_NODELIST": "n1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://n1:1"}, True),
    ],
)
def test_launchers_ask_for_several_processes(monkeypatch, variables, several):
    for name in (PROCESSES, *LAUNCHERS, *LAUNCHED):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert asks_for_several() == several


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer"), True),
        (RuntimeError("[pair.cc:547] Connection closed by peer [10.0.0.2]:4711"), True),
        (RuntimeError("Barrier timed out. Id: cin_keras/3"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("UNKNOWN: Gloo AllGather failed"), True),
        (OSError("Connection reset by peer"), False),
    ],
)
def test_a_process_that_is_gone_is_told_from_a_defect(error, lost):
    assert is_lost(error) == lost


def test_a_process_finds_its_own_rows_of_every_step():
    # Two steps of two processes with three rows each.
    rows = np.arange(12)
    assert HostReplicas(2).own_rows(rows, 2, 0).tolist() == [0, 1, 2, 6, 7, 8]
    assert HostReplicas(2).own_rows(rows[:, None], 2, 1).ravel().tolist() == [3, 4, 5, 9, 10, 11]


def test_one_process_hears_itself():
    replicas = Replicas()
    assert replicas.exchange("a") == ["a"]
    assert replicas.gather("ab") == ["a", "b"]
    assert replicas.broadcast("a") == "a"
