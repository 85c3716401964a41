"""PyTorch: one process a device, started by `torchrun`, on one host or many."""

import contextlib
import os
import socket

import keras

from cin_keras.distribution.batch_normalization import synchronize_batch_normalization
from cin_keras.distribution.replicas import Replicas, check_training

# Gradients are summed in pieces of about this many numbers, so that no second copy of all is made.
BUCKET_SIZE = 16 * 2**20
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextlib.contextmanager
def process_group():
    """Joins the processes of `torchrun`, from the environment variables that it sets.

    Tensors on GPUs go by NCCL, those on CPUs by Gloo. A group that exists already is used, and
    left open.

    Returns:
        Context manager of `(rank, count)`; `(0, 1)` without `torchrun`.
    """
    import torch

    joins = not torch.distributed.is_initialized()
    if joins and not all(name in os.environ for name in TORCHRUN_VARIABLES):
        yield 0, 1
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if joins:
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield torch.distributed.get_rank(), torch.distributed.get_world_size()
    finally:
        if joins:
            torch.distributed.destroy_process_group()


def device_name():
    """The device of this process, such as `"host-1 cuda:0"`."""
    import torch

    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    return f"{socket.gethostname()} {device}"


class ProcessReplicas(Replicas):
    """The processes of `torchrun`, each a replica: a share of the batch, a copy of the weights.

    As `fit` begins, the first process gives its variables to all. In every step each process
    weighs its loss by its share of the images, and the gradients are summed before the optimizer
    sees them, so that accumulation, clipping and loss scaling work as on one device. Metrics are
    summed after every step of training, and at the end of an evaluation.

    Args:
        rank: Int, the number of this process.
        count: Int, the number of processes.
    """

    lockstep = True

    def __init__(self, rank, count):
        super().__init__()
        self.rank = rank
        self.count = count
        self._evaluates = False

    def prepare_training(self, model):
        check_training(model)
        synchronize_batch_normalization(model, _all_reduce_sum)
        self.broadcast_variables([*model.variables, *model.optimizer.variables])
        self._part_seeds(model)

    def _part_seeds(self, model):
        """Different dropout in every process, where it would be the same for each's images."""
        weights = {id(weight) for weight in model.weights}
        # What a model keeps beside its weights are its generators' states, seed and step.
        states = {id(v): v for v in model.variables if id(v) not in weights}
        for state in states.values():
            seed, step = (int(x) for x in keras.ops.convert_to_numpy(state))
            state.assign([(seed + 7919 * self.rank) % 2**31, step])

    @contextlib.contextmanager
    def training_step(self, model, data):
        optimizer = model.optimizer
        share = _share(keras.tree.flatten(data)[0])
        optimizer.scale_loss = lambda loss: share * type(optimizer).scale_loss(optimizer, loss)
        optimizer.apply = lambda gradients, variables=None: type(optimizer).apply(
            optimizer, _sum_gradients(gradients), variables
        )
        try:
            yield
        finally:
            del optimizer.scale_loss, optimizer.apply

    @contextlib.contextmanager
    def evaluation_step(self):
        # Processes may have different numbers of batches: they meet at the end of an evaluation.
        self._evaluates = True
        try:
            yield
        finally:
            self._evaluates = False

    def metrics_result(self, metrics, compute):
        variables = [] if self._evaluates else _summable(metrics)
        if not variables:
            return compute()
        import torch

        own = [variable.value.clone() for variable in variables]
        total = torch.cat([value.double().reshape(-1) for value in own])
        torch.distributed.all_reduce(total)
        _assign(variables, _parts(total, own))
        # A result may be the very tensor of a variable.
        results = {name: torch.clone(value) for name, value in compute().items()}
        _assign(variables, own)
        return results

    def exchange(self, value):
        import torch

        values = [None] * self.count
        torch.distributed.all_gather_object(values, value)
        return values

    def broadcast_variables(self, variables):
        import torch

        with torch.no_grad():
            for variable in variables:
                torch.distributed.broadcast(variable.value.data, src=0)


def _summable(metrics):
    """The variables of metrics whose sum over processes means something, which are most."""
    return [
        variable
        for metric in metrics
        for variable in metric.variables
        if variable.aggregation == "sum"
    ]


def _assign(variables, values):
    for variable, value in zip(variables, values):
        variable.assign(value)


def _share(tensor):
    """This process's part of the images of the global batch, a tensor."""
    import torch

    images = torch.tensor(float(len(tensor)), device=tensor.device)
    total = images.clone()
    torch.distributed.all_reduce(total)
    return images / total


def _sum_gradients(gradients):
    """Puts the sum over all processes into every gradient (tensor or `None`)."""
    import torch

    waiting = []
    for bucket in _buckets([gradient for gradient in gradients if gradient is not None]):
        total = torch.cat([gradient.reshape(-1) for gradient in bucket])
        waiting.append((bucket, total, torch.distributed.all_reduce(total, async_op=True)))
    for bucket, total, work in waiting:
        work.wait()
        for gradient, value in zip(bucket, _parts(total, bucket)):
            gradient.copy_(value)
    return gradients


def _buckets(tensors):
    """Lists of neighbours of one dtype with about `BUCKET_SIZE` numbers together."""
    bucket, size = [], 0
    for tensor in tensors:
        if bucket and (size + tensor.numel() > BUCKET_SIZE or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


def _parts(together, like):
    """`together` as tensors of the shapes and dtypes of `like`."""
    sizes = [tensor.numel() for tensor in like]
    return [
        part.reshape(tensor.shape).to(tensor.dtype)
        for part, tensor in zip(together.split(sizes), like)
    ]


def _all_reduce_sum(tensor):
    """The sum over processes; of its gradient, too, since each process sees the sum."""
    import torch

    class Sum(torch.autograd.Function):
        @staticmethod
        def forward(context, tensor):
            total = tensor.clone()
            torch.distributed.all_reduce(total)
            return total

        @staticmethod
        def backward(context, gradient):
            return Sum.forward(context, gradient.contiguous())

    return Sum.apply(tensor)
