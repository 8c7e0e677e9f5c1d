"""What only a GPU can show; skipped where there is none."""

import multiprocessing
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import QUICK_DINO, grey_levels, tiny_backbone, write_notebook

from galutils.data.splits import split_rows
from galutils.device import pick_device, pick_precision
from galutils.models import cnn
from galutils.models.embedding import Preprocessing, embed
from galutils.study.profile import find_gpus
from galutils.training.dino import distill
from galutils.training.multicrop import MultiCrop
from galutils.training.replay import Replayed
from galutils.training.settings import DinoSettings, Settings
from galutils.training.supervised import train

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
    pytest.mark.filterwarnings("ignore:Collapse in epoch"),
]

SETTINGS = Settings(epochs=3, batch_size=16, image_size=32, device="cuda", precision="32-true")


def build(seed: int = 0, **choices) -> cnn.GalaxyNet:
    torch.manual_seed(seed)
    return cnn.build("custom_cnn", channels=8, **choices)


def gradients(network) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in network.trained.parameters()]


def test_the_gpu_is_chosen_and_computes_in_bf16():
    device = pick_device("auto")
    assert device.type == "cuda"
    assert pick_precision("auto", device) == "bf16-mixed"
    assert len(find_gpus()) == torch.cuda.device_count()


def test_a_recording_gives_what_the_network_gives():
    """Outputs, gradients and batch statistics, for both sizes of batch and one too many, while weights change."""
    plain, recorded = build().cuda().train(), build().cuda().train()
    replayed = Replayed(recorded, "32-true")
    for number, count in enumerate((16, 15, 16, 7, 15)):
        images = grey_levels(count, seed=number).cuda()
        for network, forward in ((plain, lambda x: plain(x).float()), (recorded, replayed)):
            network.zero_grad()
            output = forward(images)
            output.square().mean().backward()
            if network is plain:
                expected, wanted = output.detach().clone(), gradients(plain)
            else:
                torch.testing.assert_close(output.detach(), expected, rtol=1e-3, atol=1e-3)
                torch.testing.assert_close(gradients(recorded), wanted, rtol=1e-2, atol=1e-3)
        with torch.no_grad():  # the same step for both, so that differences do not grow
            for ours, theirs in zip(recorded.parameters(), plain.parameters(), strict=True):
                if theirs.grad is not None:
                    theirs.sub_(0.01 * theirs.grad)
                ours.copy_(theirs)
    assert set(replayed.recorded) == {torch.Size((16, 3, 32, 32)), torch.Size((15, 3, 32, 32))}
    for ours, theirs in zip(recorded.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_dropout_differs_from_batch_to_batch_of_a_recording():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5)).cuda().train()
    replayed, images = Replayed(network, "32-true"), torch.ones(16, 3, 8, 8, device="cuda")
    first, second = replayed(images).clone(), replayed(images).clone()
    assert not torch.equal(first, second)
    assert 0.4 < (first == 0).float().mean() < 0.6


def test_views_made_ahead_are_those_made_in_turn():
    crops = MultiCrop(DinoSettings(image_size=32, local_size=16, local_crops=2), patch=16)
    batches = [grey_levels(count, seed=count).cuda() for count in (8, 7, 8)]
    torch.manual_seed(3)
    wanted = [[view.clone() for view in crops(images)] for images in batches]
    torch.manual_seed(3)
    for number, views in enumerate(crops.ahead(batches, torch.device("cuda"))):
        torch.cuda._sleep(10_000_000)  # training that lasts until the next views are asked for
        torch.testing.assert_close([view.clone() for view in views], wanted[number])
    assert number == 2


def test_the_gpu_trains_as_the_cpu_does(simulated):
    split = split_rows(simulated)
    results = {device: train(build(), simulated, split, replace(SETTINGS, device=device)) for device in ("cpu", "cuda")}
    losses = {device: result.history["train_loss"] for device, result in results.items()}
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=0.02)
    np.testing.assert_allclose(results["cuda"].probabilities, results["cpu"].probabilities, atol=0.05)
    assert results["cuda"].device == torch.cuda.get_device_name()


def test_streamed_images_train_as_resident_ones_do(simulated):
    split = split_rows(simulated)
    streamed, resident = (
        train(build(), simulated, split, replace(SETTINGS, keep_images=keep)) for keep in (False, True)
    )
    np.testing.assert_allclose(streamed.history["train_loss"], resident.history["train_loss"], rtol=0.02)


def test_embeddings_are_those_of_the_cpu(simulated):
    preprocessing = Preprocessing(image_size=32)
    ours, theirs = (embed(tiny_backbone(), simulated, preprocessing, device=d).values for d in ("cuda", "cpu"))
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() > 0.999


def test_self_distillation_goes_as_on_the_cpu(simulated):
    """The first epoch's loss: crops are drawn by the CPU's generator or the GPU's, so that images differ."""
    settings = replace(QUICK_DINO, learning_rate=1e-3, precision="32-true")
    ours, theirs = (distill(tiny_backbone(), simulated, replace(settings, device=d)) for d in ("cuda", "cpu"))
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=0.05)
    assert not torch.equal(ours.teacher.vit.blocks[0].attn.qkv.bias, tiny_backbone().vit.blocks[0].attn.qkv.bias)


def run_notebook(source, target):
    from galutils.study.execute import execute

    execute(source, target, {})


def test_two_notebooks_do_not_share_a_gpu(tmp_path):
    """Started together, they compute one after the other."""
    if len(find_gpus()) > 1:
        pytest.skip("there is a GPU for each")
    code = "import time\nfrom pathlib import Path\nbegan = time.time()\ntime.sleep(3)\n"
    processes = []
    for name in "ab":
        source = write_notebook(
            tmp_path / f"{name}.ipynb",
            f"{code}Path({str(tmp_path / name)!r}).write_text(f'{{began}} {{time.time()}}')",
            parameters='device = "auto"  # auto, cpu or cuda',
        )
        target = tmp_path / f"{name}-out.ipynb"
        processes.append(multiprocessing.get_context("spawn").Process(target=run_notebook, args=(source, target)))
    started = time.monotonic()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    (_, first_end), (second_start, _) = sorted(
        [float(moment) for moment in (tmp_path / name).read_text().split()] for name in "ab"
    )
    assert first_end <= second_start
    assert time.monotonic() - started > 6
