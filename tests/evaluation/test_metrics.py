import numpy as np
import pytest

from galutils.evaluation.metrics import class_recall, classification_scores, roc_auc


def test_scores_by_hand():
    labels = np.array([0, 0, 1, 1, 2])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
    scores = classification_scores(labels, probabilities)
    # predictions: 0, 1, 1, 1, 0
    assert scores["accuracy"] == pytest.approx(3 / 5)
    assert scores["recall"] == pytest.approx([1 / 2, 1, 0])
    # F1: class 0 has 1 hit, 1 false alarm, 1 miss: 1/2; class 1 has 2, 1, 0: 4/5; class 2: 0
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    # AUC: class 0 wins 5 of 6 pairs (0.3 < 0.5); class 1 6 of 6; class 2 4 of 4
    assert scores["roc_auc"] == pytest.approx((5 / 6 + 1 + 1) / 3)
    # Weighted by 2, 2 and 1 galaxies. Of all 15 numbers the five true ones, .8 .3 .7 .8 .2, win 10, 7.5, 10, 10 and 6.5
    # against the ten others, .1 .1 .6 .1 .2 .1 .1 .1 .5 .3.
    assert roc_auc(labels, probabilities, "weighted") == pytest.approx((2 * 5 / 6 + 2 + 1) / 5)
    assert roc_auc(labels, probabilities, "micro") == pytest.approx((10 + 7.5 + 10 + 10 + 6.5) / 50)


def test_ties_count_half():
    assert roc_auc(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]])) == pytest.approx(0.5)


def test_absent_classes_are_left_out_of_auc_and_have_no_recall():
    labels = np.array([0, 1, 0, 1])
    scores = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0.7, 0.3, 0]])
    assert roc_auc(labels, scores) == pytest.approx(3 / 4)
    assert class_recall(labels, scores.argmax(1), 3) == [1.0, 0.5, None]
    with pytest.raises(ValueError, match=r"^ROC AUC needs at least two classes among the labels\.$"):
        roc_auc(np.zeros(4, int), scores)


def test_bad_probabilities_are_refused():
    with pytest.raises(ValueError, match=r"^3 labels do not go with probabilities of shape \(2, 10\)\.$"):
        classification_scores(np.zeros(3, int), np.ones((2, 10)) / 10)
    with pytest.raises(ValueError, match=r"^Some probabilities are not finite\.$"):
        classification_scores(np.zeros(2, int), np.full((2, 10), np.nan))
