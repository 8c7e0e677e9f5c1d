"""How common the classes are among galaxies without labels, and what a classifier's probabilities become then.

A classifier's probabilities hold for the proportions of classes that it was trained with. Where others occur, and
galaxies of a class look as they did in training, expectation-maximisation finds the new proportions from the
probabilities alone (Saerens, Latinne & Decaestecker 2002).
"""

import numpy as np

#: Rounds at most, and the change of a proportion below which nothing changes any more.
_ROUNDS, _CHANGE = 10_000, 1e-7


def correct_label_shift(probabilities: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Proportions (C,) of the classes among some galaxies, and their probabilities (n, C) corrected for them.

    Args:
        probabilities: (n, C), of a classifier; rows sum to one.
        trained: (C,) proportions of the classes in training; a class that was not trained stays without galaxies.
    """
    ratio = np.divide(1, trained, out=np.zeros(len(trained)), where=trained > 0)
    proportions = trained / trained.sum()
    for _ in range(_ROUNDS):
        corrected = probabilities * (proportions * ratio)
        corrected /= corrected.sum(axis=1, keepdims=True)
        before, proportions = proportions, corrected.mean(axis=0)
        if np.abs(proportions - before).max() < _CHANGE:
            break
    return proportions, corrected
