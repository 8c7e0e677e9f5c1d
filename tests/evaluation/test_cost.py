import numpy as np
import pandas as pd
import pytest
import torch
from fakes import tiny_backbone
from torch import nn

from galutils.evaluation.metrics import on_front
from galutils.models import cnn
from galutils.models.cost import multiply_adds
from galutils.report.tables import cost_table


def test_multiply_adds_by_hand():
    network = nn.Sequential(
        cnn.Normalize(cnn.GALAXY_MEAN, cnn.GALAXY_STD),
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Flatten(),
        nn.Linear(256, 5),
    )
    # 8 * 8 pixels, 3 * 9 weights for each of 4 channels; 256 numbers to 5.
    assert multiply_adds(network, 8) == 64 * 27 * 4 + 256 * 5
    assert network.training


@pytest.mark.usefixtures("features_alone")
def test_vgg11_costs_what_torchvision_says():
    """torchvision's page of VGG11 gives 7.61 GFLOPS (multiply-adds) at 224 pixels, with its own classifier."""
    network = cnn.vgg_finetuned("vgg11", "random", "all")
    own_head = sum(layer.weight.numel() for layer in network.trained if isinstance(layer, nn.Linear))
    original_head = 512 * 49 * 4096 + 4096 * 4096 + 4096 * 1000
    assert (multiply_adds(network, 224) - own_head + original_head) / 1e9 == pytest.approx(7.61, abs=0.005)


def test_attention_is_counted():
    backbone = tiny_backbone()
    tokens, dim, blocks = 17, 32, 4
    layers = tokens * (3 + 1 + 2 * 4) * dim * dim  # query, key, value; projection; the two of the MLP
    attention = 2 * tokens * tokens * dim
    assert multiply_adds(backbone, 32) == 16 * 3 * 64 * dim + blocks * (layers + attention)


def test_batch_normalisation_is_left_as_it_was():
    torch.manual_seed(0)
    network = cnn.custom_cnn().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    multiply_adds(network, 64)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_front_by_hand():
    cost, accuracy = np.array([1, 2, 3, 4, np.nan]), np.array([0.5, 0.4, 0.7, 0.7, 0.9])
    assert on_front(cost, accuracy).tolist() == [True, False, True, False, False]
    assert on_front(cost, accuracy, less_is_better=False).tolist() == [False, False, False, True, False]
    table = pd.DataFrame({"approach": ["A", "B"], "accuracy": [0.5, 0.6], "parameters": [10, 2000]})
    table = table.assign(
        multiply_adds=[5e9, 4e6], train_images_per_second=[np.nan, 9], predict_images_per_second=[3, 2]
    )
    shown = cost_table(table)
    assert shown["Parameters"].tolist() == ["10 *", "2,000 *"]
    assert shown["Multiply-adds per image, millions"].tolist() == ["5,000", "4 *"]
    assert shown["Images per second, training"].tolist() == ["–", "9 *"]  # noqa: RUF001
