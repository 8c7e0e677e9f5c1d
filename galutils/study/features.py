"""What a trained run makes of an image: probabilities, and the features in which nearness is measured."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import nn

from galutils.data.galaxies import Galaxies, prepare
from galutils.device import autocast, pick_device, pick_precision
from galutils.models.embedding import prepare_images
from galutils.progress import tracked
from galutils.study.runs import Run, RunError
from galutils.training.supervised import PREDICT_BATCH


class FeatureExtractor(ABC):
    """A run's network on a device, and how an image becomes its input. Subclasses say how."""

    def __init__(self, run: Run, device: str, precision: str = "32-true"):
        self.run, self.device = run, pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.network = run.network().to(self.device)

    @abstractmethod
    def prepare(self, images: np.ndarray) -> torch.Tensor:
        """Square images (n, s, s, 3) uint8 as the network takes them, (n, 3, size, size)."""

    @abstractmethod
    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (n, D) of prepared images, and logits (n, C) where the network classifies."""

    def of_batch(self, batch: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Features (n, D) float32 and probabilities (n, C) float64, or None, of prepared images."""
        with torch.inference_mode(), autocast(self.device, self.precision):
            features, logits = self.forward(batch.to(self.device))
        probabilities = None if logits is None else logits.cpu().double().softmax(1).numpy()
        return features.float().cpu().numpy(), probabilities

    def of_rows(self, galaxies: Galaxies, rows: np.ndarray) -> np.ndarray:
        """Features (n, D) float32 of rows of a file, read in bounded memory."""
        blocks = [rows[start : start + PREDICT_BATCH] for start in range(0, len(rows), PREDICT_BATCH)]
        seen = tracked(blocks, len(rows), "image", weight=len)
        return np.concatenate([self.of_batch(self.prepare(galaxies.read_images(block)))[0] for block in seen])


class Classifier(FeatureExtractor):
    """A run that learnt from labels. Features are what its last layer weighs up."""

    def __init__(self, run: Run, device: str = "auto", precision: str = "32-true"):
        if not run.supervised:
            raise RunError(
                f"{run.directory}: learnt from no labels, so it cannot classify; name a run of notebooks 02 to 05."
            )
        super().__init__(run, device, precision)
        self.body = nn.Sequential(self.network.frozen, *self.network.trained[:-1])
        self.head = self.network.trained[-1]

    def prepare(self, images: np.ndarray) -> torch.Tensor:
        settings = self.run.metrics["settings"]
        prepared = prepare(images, settings["image_size"], settings["crop"])
        return torch.from_numpy(np.ascontiguousarray(prepared)).permute(0, 3, 1, 2)

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(batch)
        return features, self.head(features)


class Embedder(FeatureExtractor):
    """A run without labels. Features are the embedding that was clustered, before its principal components."""

    def __init__(self, run: Run, device: str = "auto"):
        super().__init__(run, device)
        self.preprocessing = run.preprocessing

    def prepare(self, images: np.ndarray) -> torch.Tensor:
        return prepare_images(torch.from_numpy(images).permute(0, 3, 1, 2), self.preprocessing)

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, None]:
        tokens = self.network.cls_tokens(batch, self.preprocessing.blocks, self.preprocessing.final_norm)
        return (nn.functional.normalize(tokens, dim=1) if self.preprocessing.l2 else tokens), None


def open_features(run: Run, device: str = "auto") -> Classifier | Embedder:
    """The run's network, of whichever kind."""
    return (Classifier if run.supervised else Embedder)(run, device)
