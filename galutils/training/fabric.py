"""Device and precision."""

import torch

from galutils.training.settings import Settings


def make_fabric(settings: Settings):
    """A Lightning Fabric: device, precision and processes. A CUDA device that is there is used unless another is
    asked for.
    """
    from lightning_fabric import Fabric

    accelerator = settings.device
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = "bf16-mixed" if accelerator == "cuda" else "32-true"
    # Forked processes work from a script and from a notebook alike, as spawned ones do not.
    strategy = "auto" if settings.devices == 1 else "ddp_notebook"
    return Fabric(accelerator=accelerator, devices=settings.devices, precision=precision, strategy=strategy)
