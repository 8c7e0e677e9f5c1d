"""How alike galaxies are in the eyes of a trained run: nearness of its features, and when one is unlike all others.

What a network does not look at does not count: a frame of mere sky may pass for a faint galaxy.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from galutils.data.galaxies import Galaxies
from galutils.files import atomic_path, code_digest, sha256
from galutils.study.features import FeatureExtractor

#: Principal components of the features that distances are measured in, at most.
COMPONENTS = 64

#: An image is unlike the reference if the last of this many nearest galaxies is further away than from this
#: share of the reference galaxies themselves.
NEIGHBOURS, SHARE = 10, 0.99


@dataclass(frozen=True)
class Likeness:
    """Reference galaxies by their principal components."""

    rows: np.ndarray  # (n,) int64, their row numbers
    mean: np.ndarray  # (D,), of their features
    components: np.ndarray  # (k, D), of their features
    places: np.ndarray  # (n, k) float32

    @cached_property
    def _tree(self):
        from sklearn.neighbors import NearestNeighbors

        return NearestNeighbors().fit(self.places)

    def nearest(self, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances and row numbers of the nearest reference galaxies, (n, count), nearest first. features: (n, D)."""
        near = min(count, len(self.rows))
        distances, places = self._tree.kneighbors((features - self.mean) @ self.components.T, near)
        return distances, self.rows[places]

    def distance(self, features: np.ndarray) -> np.ndarray:
        """(n,) distance to the :data:`NEIGHBOURS`-th nearest reference galaxy. features: (n, D)."""
        return self.nearest(features, NEIGHBOURS)[0][:, -1]

    @cached_property
    def threshold(self) -> float:
        """The distance beyond which lie 1% of the reference galaxies, each measured against the others."""
        others = min(NEIGHBOURS, len(self.rows) - 1)
        return float(np.quantile(self._tree.kneighbors(n_neighbors=others)[0][:, -1], SHARE))


def checksums(run_dir: Path) -> list[str]:
    """Of what a run says of its network, and of its tensors where it keeps some."""
    return [sha256(path) for name in ("metrics.json", "model.safetensors") if (path := run_dir / name).exists()]


def measure_likeness(extractor: FeatureExtractor, galaxies: Galaxies, rows: np.ndarray) -> Likeness:
    """Some rows (n,) of the galaxies that a run read as the reference, computed once and kept in its directory."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file
    from sklearn.decomposition import PCA

    folder = extractor.run.directory
    found = checksums(folder)
    code = code_digest("data", "models", "study/features.py", "predict/novelty.py")
    key, rows = f"{found} {code} {extractor.device.type} {COMPONENTS}", rows.astype(np.int64)
    path = folder / f"likeness-{hashlib.sha256(key.encode() + rows.tobytes()).hexdigest()[:16]}.safetensors"
    try:
        return Likeness(**load_file(path))
    except (OSError, SafetensorError, TypeError):
        pass  # not there or damaged: measured again
    features = extractor.of_rows(galaxies, rows)
    pca = PCA(min(COMPONENTS, *features.shape), random_state=0).fit(features)
    places = np.ascontiguousarray((features - pca.mean_) @ pca.components_.T)
    kept = {"rows": rows, "mean": pca.mean_, "components": np.ascontiguousarray(pca.components_), "places": places}
    with atomic_path(path) as partial:
        save_file(kept, partial)
    return Likeness(**kept)
