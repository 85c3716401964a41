"""JAX over several hosts: a process each, joined by `keras.distribution.initialize`.

Every process runs the same program, and each step is one computation of all devices, of which a
process feeds its share. Tried with Keras 3.15.1 and JAX 0.10.2, on CPUs with Gloo collectives.
"""

import atexit
import contextlib
import itertools
import os
import pickle

import keras
import numpy as np

from cin_keras.distribution.replicas import Replicas
from cin_keras.streams import stop

PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
NUMBER = "KERAS_DISTRIBUTION_PROCESS_ID"
# What Slurm's srun and Open MPI's mpirun set, from which JAX finds the rest.
LAUNCHERS = ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
LAUNCHED = ("SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri")
PATIENCE = 24 * 60 * 60 * 1000  # milliseconds

_MEETINGS = itertools.count()


@contextlib.contextmanager
def joined_processes():
    """Joins the processes that the environment tells of; those that are joined already stay so.

    Returns:
        Context manager of `(rank, count)`; `(0, 1)` where there is one process.

    Raises:
        ValueError: If the environment tells of several processes, but not where they are; if the
            processes have different numbers of devices.
        ConnectionError: If they cannot be reached.
    """
    import jax

    joins = not jax.distributed.is_initialized() and asks_for_several()
    if joins:
        _join()
    rank, count = jax.process_index(), jax.process_count()
    if jax.device_count() != count * jax.local_device_count():
        raise ValueError(
            "Every process needs as many devices as the others. Received: "
            f"{jax.local_device_count()} of {jax.device_count()} devices in process {rank} of "
            f"{count}"
        )
    try:
        yield rank, count
        if joins:
            _meet()  # the first may write for longer than JAX waits by itself
            jax.distributed.shutdown()
    except BaseException:
        if joins:
            # JAX would wait at the end of Python for others, which wait for this process.
            atexit.register(stop, None, 1)
        raise


def asks_for_several():
    """Whether the environment asks for several processes."""
    if os.environ.get(PROCESSES):
        if _number(PROCESSES) < 1:
            raise ValueError(
                f"{PROCESSES} must be a number of at least 1. Received: {os.environ[PROCESSES]}"
            )
        return _number(PROCESSES) > 1
    given = [name for name in (ADDRESSES, NUMBER) if os.environ.get(name)]
    if given:
        raise ValueError(
            f"With {' and '.join(given)} goes {PROCESSES}, how many there are. Received: no "
            f"{PROCESSES}"
        )
    several = any(_number(name) > 1 for name in LAUNCHERS if os.environ.get(name))
    return several and any(name in os.environ for name in LAUNCHED)


def _number(name):
    try:
        return int(os.environ[name])
    except ValueError:
        raise ValueError(f"{name} must be a number. Received: {os.environ[name]}") from None


def _join():
    import jax

    if os.environ.get(PROCESSES):  # else a launcher says all
        missing = [name for name in (ADDRESSES, NUMBER) if not os.environ.get(name)]
        if missing:
            raise ValueError(
                f"With {PROCESSES} go {ADDRESSES}, of the first process, as in 10.0.0.1:29500, and "
                f"{NUMBER}, from 0. Received: no {' and no '.join(missing)}"
            )
        if not 0 <= _number(NUMBER) < _number(PROCESSES):
            raise ValueError(
                f"{NUMBER} must be from 0 to {_number(PROCESSES) - 1}, as {PROCESSES} says. "
                f"Received: {os.environ[NUMBER]}"
            )
        first = os.environ[ADDRESSES].split(",")[0]
        if not first.rpartition(":")[2].isdigit():
            raise ValueError(
                f"{ADDRESSES} must begin with the first process's address and port, as in "
                f"10.0.0.1:29500. Received: {os.environ[ADDRESSES]}"
            )
    # Else JAX keeps SIGTERM to itself, and a scheduler would have to kill the process.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        keras.distribution.initialize()
    except RuntimeError as error:
        raise ConnectionError(f"The processes could not be joined: {error}") from error


def _meet():
    """Waits, for however long, until every process is here: collectives give up after a while."""
    from jax._src import distributed

    number = next(_MEETINGS)
    distributed.global_state.client.wait_at_barrier(f"cin_keras/{number}", PATIENCE)


class HostReplicas(Replicas):
    """The processes of several hosts, whose devices together behave as one.

    As `fit` begins, the first process gives its variables to all.

    Args:
        count: Int, the number of processes.
    """

    lockstep = True

    def __init__(self, count):
        super().__init__(pads=True)
        self.count = count

    def prepare_training(self, model):
        self.broadcast_variables([*model.variables, *model.optimizer.variables])

    def prepare_prediction(self, model):
        """Lets a Keras model give every row to every process, which can read no other's devices."""
        import jax

        if hasattr(model, "predict_step_of_devices"):
            return
        mesh = keras.distribution.distribution().device_mesh.backend_mesh
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

        def constrain(x):
            return jax.lax.with_sharding_constraint(x, everywhere)

        def step(*args):
            outputs, *state = model.predict_step_of_devices(*args)
            return keras.tree.map_structure(constrain, outputs), *state

        model.predict_step_of_devices = model.predict_step
        model.predict_step, model.predict_function = step, None

    def own_rows(self, rows, steps, rank):
        """Those of a process, of the rows of all processes in each of several steps."""
        own = np.asarray(rows).reshape(steps, self.count, -1, *rows.shape[1:])[:, rank]
        return own.reshape(-1, *rows.shape[1:])

    def exchange(self, value):
        from jax.experimental import multihost_utils

        _meet()
        content = np.frombuffer(pickle.dumps(value), np.uint8)
        sizes = multihost_utils.process_allgather(np.int32(len(content)))
        # Of a few sizes, for each of which a program is compiled.
        room = 1 << int(sizes.max()).bit_length()
        padded = np.pad(content, (0, room - len(content)))
        parts = multihost_utils.process_allgather(padded)
        return [pickle.loads(part[:size].tobytes()) for part, size in zip(parts, sizes)]

    def broadcast_variables(self, variables):
        from jax.experimental import multihost_utils

        own = [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variable, value in zip(variables, multihost_utils.broadcast_one_to_all(own)):
            variable.assign(value)
