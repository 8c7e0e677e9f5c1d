"""What a trained run sees in an image: probabilities, and the features that likeness is measured in."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from galutils.data.galaxies import Galaxies, prepare
from galutils.device import pick_device
from galutils.errors import first_line
from galutils.models.embedding import prepare_images
from galutils.progress import tracked
from galutils.study import networks, runs
from galutils.study.runs import RunError, read_metrics
from galutils.training.supervised import PREDICT_BATCH


def load_network(run_dir: str | Path):
    """Rebuild a run's trained network (on the CPU, evaluation mode).

    Raises:
        RunError: the directory holds no model.
    """
    from safetensors.torch import load_file

    from galutils.models import cnn

    run_dir = Path(run_dir)
    if not (run_dir / "model.safetensors").exists():
        raise RunError(f"{run_dir}: has no model.safetensors; run its notebook first.")
    recipe = json.loads((run_dir / "model.json").read_text(encoding="utf-8"))
    if "weights" in recipe:
        recipe["weights"] = "random"  # every tensor comes from the run; the original file is not needed
    network = cnn.build(**recipe)
    network.load_state_dict(load_file(run_dir / "model.safetensors"), strict=True)
    return network.eval()


def load_backbone(run_dir: str | Path):
    """The transformer that embedded in a run: the adapted one where it was adapted, else the one it started from.

    Raises:
        RunError: there is no complete run in that directory.
        galutils.models.weights.WeightsError: the weights that the run started from are no longer where they were.
    """
    from galutils.models import vit

    recipe = read_metrics(run_dir)["model"]
    adapted = Path(run_dir) / "model.safetensors"
    if adapted.exists():
        return vit.load_backbone(adapted)
    return vit.load_backbone(**{name: recipe[name] for name in ("weights", "arch", "normalization", "seed")})


def read_preprocessing(run_dir: str | Path):
    """The :class:`galutils.models.embedding.Preprocessing` of a run without labels.

    Raises:
        RunError: there is no complete run in that directory.
    """
    from galutils.models.embedding import Preprocessing

    return Preprocessing(**read_metrics(run_dir)["preprocessing"])


#: What a damaged run raises, depending on what is damaged.
_DAMAGE = (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, OSError)


@contextmanager
def _readable(run_dir: str | Path) -> Iterator[None]:
    """Say of a run that is damaged that it is."""
    try:
        yield
    except RunError:
        raise
    except _DAMAGE as error:
        reason = first_line(error)[:160]
        raise RunError(f"{run_dir}: its network cannot be read ({reason}); run its notebook again.") from error


class _Seer(ABC):
    """A run's network and how an image becomes its input. Subclasses say how."""

    device: torch.device

    @abstractmethod
    def prepare(self, images: np.ndarray) -> torch.Tensor:
        """Square images (n, s, s, 3) uint8 as the network takes them, (n, 3, size, size)."""

    @abstractmethod
    def see(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (n, D) of prepared images, and logits (n, 10) where the network classifies."""

    def of_batch(self, batch: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Features (n, D) float32 and probabilities (n, 10) float64, or None, of prepared images."""
        with torch.inference_mode():
            features, logits = self.see(batch.to(self.device))
        probabilities = None if logits is None else logits.double().softmax(1).cpu().numpy()
        return features.float().cpu().numpy(), probabilities

    def of_rows(self, galaxies: Galaxies, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The same of rows of a file, in bounded memory."""
        blocks = [rows[start : start + PREDICT_BATCH] for start in range(0, len(rows), PREDICT_BATCH)]
        seen = [
            self.of_batch(self.prepare(galaxies.read_images(block)))
            for block in tracked(blocks, len(rows), "image", weight=len)
        ]
        features, probabilities = zip(*seen, strict=True)
        return np.concatenate(features), None if probabilities[0] is None else np.concatenate(probabilities)


class Classifier(_Seer):
    """A run that learnt from labels. Features are what its last layer weighs up.

    Raises:
        RunError: there is no complete run of that kind in the directory, or it is damaged.
    """

    def __init__(self, run_dir: str | Path, device: str = "auto"):
        metrics = runs.read_metrics(run_dir)
        with _readable(run_dir):
            if "clusters" in metrics["model"]:
                raise RunError(
                    f"{run_dir}: learnt from no labels, so it cannot classify; name a run of notebooks 02 to 05."
                )
            self.size, self.crop = metrics["settings"]["image_size"], metrics["settings"]["crop"]
            self.network = networks.load_network(run_dir)
        self.device = pick_device(device)
        self.body = nn.Sequential(self.network.frozen, *self.network.trained[:-1]).to(self.device).eval()
        self.head = self.network.trained[-1].to(self.device)

    def prepare(self, images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(prepare(images, self.size, self.crop))).permute(0, 3, 1, 2)

    def see(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(batch)
        return features, self.head(features)


class Embedder(_Seer):
    """A run without labels. Features are the embedding that was clustered, before its principal components.

    Raises:
        RunError: there is no complete run of that kind in the directory, or it is damaged.
    """

    def __init__(self, run_dir: str | Path, device: str = "auto"):
        with _readable(run_dir):
            self.preprocessing = networks.read_preprocessing(run_dir)
            self.backbone = networks.load_backbone(run_dir)
        self.device = pick_device(device)
        self.backbone.to(self.device).eval()

    def prepare(self, images: np.ndarray) -> torch.Tensor:
        return prepare_images(torch.from_numpy(images).permute(0, 3, 1, 2), self.preprocessing)

    def see(self, batch: torch.Tensor) -> tuple[torch.Tensor, None]:
        tokens = self.backbone.cls_tokens(batch, self.preprocessing.blocks, self.preprocessing.final_norm)
        return (nn.functional.normalize(tokens, dim=1) if self.preprocessing.l2 else tokens), None


def load_seer(run_dir: str | Path, device: str = "auto") -> Classifier | Embedder:
    """The run's network, of whichever kind.

    Raises:
        RunError: there is no complete run in that directory, or it is damaged.
    """
    model = runs.read_metrics(run_dir).get("model") or {}
    return (Embedder if "clusters" in model else Classifier)(run_dir, device)
