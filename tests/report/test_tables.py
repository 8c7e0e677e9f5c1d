from dataclasses import replace

import numpy as np
import pandas as pd

from galutils.evaluation.bootstrap import Graded, coarsen
from galutils.evaluation.metrics import roc_auc
from galutils.report import tables


def test_headings_are_words():
    assert [tables.heading(name) for name in ("nmi", "set_aside", "accuracy")] == ["NMI", "Set aside", "Accuracy"]


def test_numbers_have_three_places_but_where_others_are_named():
    table = pd.DataFrame({"seed": [4], "reported": [True], "nmi": [0.11741], "silhouette": [np.nan], "seconds": [1.26]})
    assert tables.in_words(table, seconds=1).to_string(delimiter="|").splitlines() == [
        "Seed|Reported|NMI|Silhouette|Seconds",
        "4|True|0.117||1.3",
    ]


def test_names_of_rows_are_shown_where_they_are_asked_for():
    table = pd.DataFrame({"nmi": [0.5]}, index=["raw pixels"])
    assert "raw pixels" in tables.in_words(table, index=True).to_html()
    assert "raw pixels" not in tables.in_words(table).to_html()


def test_coarse_classes_and_averages_of_roc_auc():
    """Of four galaxies one is right, two more by coarse classes; one was given no class."""
    rows, labels = np.arange(5), np.array([0, 2, 5, 8, 9])
    hard = Graded(rows, rows, labels, np.array([0, 4, 7, 0, -1]))
    soft = Graded(rows, rows, labels, np.array([0, 4, 7, 0, 2]), np.eye(10)[[0, 4, 7, 0, 2]])
    coarse = coarsen(hard)
    assert coarse.classes == ("merger", "smooth", "face-on disk", "edge-on disk")
    assert coarse.labels.tolist() == [0, 1, 2, 3, 3]
    assert coarse.predicted.tolist() == [0, 1, 2, 0, -1]
    assert coarsen(soft).predicted.tolist() == [0, 1, 2, 0, 1]
    assert coarsen(soft).probabilities.tolist() == np.eye(4)[[0, 1, 2, 0, 1]].tolist()
    graded = {"A": {0: hard}, "B": {0: soft}}
    table = tables.coarse_table(graded)
    assert table["Accuracy"].str.startswith("60.0% (").tolist() == [True, True]
    assert tables.coarse_table({"A": {0: replace(hard, classes=tuple("abcdefghij"))}}).empty
    averages = tables.auc_table(graded)
    assert averages.index.tolist() == ["B"]
    for name in ("macro", "weighted", "micro"):
        assert averages.loc["B", name.capitalize()] == roc_auc(labels, soft.probabilities, name)


def test_only_parameters_that_were_varied_are_explained():
    told = tables.describe_parameters(pd.DataFrame({"parameter": ["widths", "made up", "widths"]}))
    assert told == "- `widths`: as many channels throughout, against twice as many from block to block as in VGG11."


def test_scores_of_a_run_are_shares_in_percent_and_an_area():
    found = pd.DataFrame(
        {"mean": [0.398, 0.8761, 0.3], "low": [0.3, 0.85, 0.2], "high": [0.5, 0.9, 0.4]},
        index=["accuracy", "roc_auc", "macro_f1"],
    )
    table = tables.score_table(found)
    assert table.index.tolist() == ["Accuracy", "ROC AUC", "Macro-F1"]
    assert table["Value"].tolist() == ["39.8%", "0.876", "30.0%"]
    assert table["95% interval"].tolist() == ["30.0% to 50.0%", "0.850 to 0.900", "20.0% to 40.0%"]
