"""`python -m tests.distribution.torchrun DEVICES FILE`: `torchrun` of `tests.distribution.training`.

Its processes are forked from this one, so that TensorFlow and PyTorch are loaded once.
"""

import sys
import uuid

from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from tests.distribution import training


def main(count):
    config = LaunchConfig(  # as of `torchrun --standalone --nproc-per-node COUNT`
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
        max_restarts=0,
    )
    elastic_launch(config, training.main)()


if __name__ == "__main__":
    main(int(sys.argv[1]))
