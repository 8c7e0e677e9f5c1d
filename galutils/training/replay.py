"""A network recorded on a GPU, and replayed for batch after batch.

Networks as small as these are many short kernels, and Python takes longer to launch them one by one than the GPU to
run them. A recording (a CUDA graph) launches forward or backward pass as one.
"""

import torch
from torch import nn

from galutils.device import autocast

#: Recordings of one network, each for batches of one shape: those of an epoch differ by one image at most.
SHAPES = 2


class _Pass(nn.Module):
    def __init__(self, network: nn.Module, precision: str):
        super().__init__()
        self.network, self.precision = network, precision

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with autocast(images.device, self.precision):
            return self.network(images).float()


class Replayed:
    """A network in training mode whose outputs, in float32, can be differentiated: recorded on a GPU, else plain.

    Weights may change in place between batches, as optimisers change them. An output holds until the next call.
    """

    def __init__(self, network: nn.Module, precision: str):
        self.network, self.precision, self.plain = network, precision, _Pass(network, precision)
        self.recorded: dict[torch.Size, nn.Module] = {}
        self.pool = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        if images.is_cuda and images.shape not in self.recorded and len(self.recorded) < SHAPES:
            self.recorded[images.shape] = self._record(images)
        return self.recorded.get(images.shape, self.plain)(images)

    def _record(self, images: torch.Tensor) -> nn.Module:
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        if hasattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch"):  # PyTorch 2.10 and later
            # A recording is made on a stream of its own, which later backward passes wait for, as they should.
            torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        buffers = [(buffer, buffer.clone()) for buffer in self.network.buffers()]
        recorded = torch.cuda.make_graphed_callables(
            _Pass(self.network, self.precision), (images.clone(),), allow_unused_input=True, pool=self.pool
        )
        for buffer, before in buffers:  # batch normalisation saw the batches that recording takes
            buffer.copy_(before)
        return recorded
