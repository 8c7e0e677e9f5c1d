import numpy as np
import pandas as pd
import pytest

from galutils.clustering import chance
from galutils.data.classes import GALAXY10, GALAXY10_COUNTS


def test_one_cluster_gets_the_largest_class():
    null = chance.paper_null(np.array([1.0]), GALAXY10, permutations=3)
    np.testing.assert_allclose(null, max(GALAXY10_COUNTS) / sum(GALAXY10_COUNTS))


def test_ten_equal_clusters_on_the_full_set_get_little_more_than_a_tenth():
    null = chance.paper_null(np.full(10, 0.1), GALAXY10, permutations=20)
    # Each cluster holds 1774 rows; the best of 10! assignments of random counts adds about one point.
    assert 0.10 < null.min() <= null.max() < 0.12


def test_implied_recall_by_hand():
    # Ten balanced classes, recall r everywhere: specificity is 1 - (1 - r) / 9, AUC the mean of the two.
    recall = 0.37
    area = (recall + 1 - (1 - recall) / 9) / 2
    assert chance.implied_recall(area, recall) == pytest.approx(recall)


def evidence(kmeans=0.226, linear=0.54, faulty=0.12):
    null = np.array([0.139, 0.141])
    references = pd.DataFrame(
        {"accuracy": [kmeans], "linear": [linear], "knn": [0.35], "roc_auc_soft": [0.68], "roc_auc_hard": [0.57]},
        index=["frozen transformer"],
    )
    clusterers = pd.DataFrame(
        {
            "method": ["ward", "kmeans"],
            "clusters": [10, 50],
            "matching": ["one-to-one", "many-to-one"],
            "accuracy": [kmeans + 0.01, 0.5],
            "chance": [0.14, 0.2],
            "nmi": [0.13, 0.2],
        }
    )
    faults = pd.DataFrame({"fault": ["none", "inverse"], "accuracy": [kmeans, faulty], "roc_auc_hard": [0.57, 0.50]})
    cases = chance.collect_cases({"reference": references}, clusterers, faults, null.mean())
    drift = pd.DataFrame({"cka": [0.99], "largest_angle": [12.0], "change": [-0.01]}, index=["LoRA"])
    return null, np.array([0.115]), references, cases, drift


def test_cases_hold_every_cause_and_not_the_faultless_evaluation():
    cases = evidence()[3]
    assert cases["cause"].tolist() == ["reference", "clusterer", "clusterer", "fault of evaluation"]
    assert cases["case"].tolist()[1] == "ward, 10 clusters, one-to-one"
    assert cases["chance"].tolist() == pytest.approx([0.14, 0.14, 0.2, 0.14])


def test_the_verdict_follows_the_numbers():
    text = " ".join(chance.conclude(*evidence()))
    assert "gets 22.6%: 86 standard deviations above chance" in text
    assert "The information is there" in text
    assert "inverse (12.0%)" in text
    assert "0.521 is 0.500: fault of evaluation, inverse." in text
    assert "ward does best with 23.6%" in text  # not the many-to-one case
    assert "not what holds the score down" in text
    assert "accuracy -1.0 points" in text
    blind = " ".join(chance.conclude(*evidence(kmeans=0.141, linear=0.15, faulty=0.141)))
    assert "not distinguishable from chance" in blind
    assert "labels find little in it" in blind
    assert "would bring it down" not in blind  # this clustering needs no mistake to be at the paper's score
