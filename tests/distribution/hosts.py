"""Two processes on JAX that stand for two hosts.

`python -m tests.distribution.hosts EVENT` is one of them: it joins the other, and then one is
killed.
"""

import os
import signal
import socket
import sys

PREFIX = "KERAS_DISTRIBUTION_"


def environment(folder, process):
    """What tells a process of its place.

    Args:
        folder: Path, in which the two agree upon a port.
        process: Int, 0 or 1.

    Returns:
        Dict.
    """
    port = folder / "port"
    if not port.exists():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port.write_text(str(free.getsockname()[1]))
    return {
        f"{PREFIX}JOB_ADDRESSES": f"127.0.0.1:{port.read_text()}",
        f"{PREFIX}NUM_PROCESSES": "2",
        f"{PREFIX}PROCESS_ID": str(process),
    }


def main(killed):
    """Ends process `killed` while the other one waits for it."""
    from jax.experimental import multihost_utils

    from cin_keras.distribution import distribute
    from cin_keras.distribution.replicas import LOST, is_lost

    with distribute() as devices:
        assert devices.replicas.exchange(devices.rank) == [0, 1]
        if devices.rank == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            multihost_utils.process_allgather(1)  # as in a step; a barrier waits for 100 s
        except Exception as error:
            if is_lost(error):
                sys.exit(f"error: {LOST}")
            raise


if __name__ == "__main__":
    main(int(sys.argv[1]))
