"""Tables as they are shown: headings in words, numbers to three places."""

import pandas as pd
from pandas.io.formats.style import Styler

#: Columns whose headings are not their names with a capital.
HEADINGS = {
    "accuracy_std": "SD of accuracy",
    "ami": "AMI",
    "ari": "ARI",
    "cka": "CKA",
    "knn": "Nearest neighbours",
    "largest_angle": "Largest angle, degrees",
    "linear": "Linear probe",
    "macro_f1": "Macro-F1",
    "median_angle": "Median angle, degrees",
    "nmi": "NMI",
    "roc_auc_hard": "ROC AUC, hard",
    "roc_auc_soft": "ROC AUC, soft",
}


def heading(column: str) -> str:
    """A column's name in words."""
    return HEADINGS.get(column, column.replace("_", " ").capitalize())


def in_words(table: pd.DataFrame, index: bool = False, **places: int) -> Styler:
    """A table of numbers, ready to be shown.

    Args:
        table: columns by the names that the code has for them.
        index: whether the rows' names are shown.
        places: decimal places of columns that have others than three.
    """
    forms = {column: f"{{:.{count}f}}" for column, count in places.items()}
    styler = table.style.format(forms, precision=3, na_rep="").format_index(heading, axis=1)
    return styler if index else styler.hide()
