import numpy as np
import pandas as pd

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
