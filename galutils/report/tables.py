"""Tables as they are shown: headings in words, numbers to three places."""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from galutils.data.galaxy10 import CLASS_NAMES
from galutils.evaluation.bootstrap import CONFUSABLE


def imbalance_table(estimates: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Scores that rare classes weigh in: one row per approach. estimates: from :func:`estimate_all`."""
    names = {
        "balanced_accuracy": "Balanced accuracy",
        "macro_f1": "Macro-F1",
        "roc_auc": "ROC AUC",
        "top2_accuracy": "Top-2 accuracy",
    }
    rows = {
        title: {label: with_interval(table.loc[name]) for name, label in names.items()}
        for title, table in estimates.items()
    }
    return pd.DataFrame(rows).T


def class_table(estimates: dict[str, pd.DataFrame], score: str) -> pd.DataFrame:
    """ "recall" or "precision" by class (rows) and approach (columns), with intervals."""
    columns = {
        title: [with_interval(table.loc[f"{score} {label}"]) for label in range(len(CLASS_NAMES))]
        for title, table in estimates.items()
    }
    return pd.DataFrame(columns, index=CLASS_NAMES)


def confusable_table(estimates: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """For each approach the share of the galaxies of two similar classes that it takes for the other one."""
    rows = {
        title: {pair.capitalize(): with_interval(table.loc[f"confused {pair}"]) for pair in CONFUSABLE}
        for title, table in estimates.items()
    }
    return pd.DataFrame(rows).T


def with_interval(score: pd.Series) -> str:
    """ "71% (64 to 77)"; an en dash where the score has no meaning."""
    if not np.isfinite(score["mean"]):
        return "–"  # noqa: RUF001
    return f"{score['mean']:.1%} ({score['low'] * 100:.0f} to {score['high'] * 100:.0f})"


def format_comparisons(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Pairs of approaches as they are shown. comparisons: from :func:`galutils.evaluation.significance.compare`."""
    rows = [
        {
            "Approach": row.first,
            "against": row.second,
            "Second less first, points": f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})",
            "Right alone: first, second": f"{row.only_first:.0f}, {row.only_second:.0f} of {row.galaxies:,}",
            "McNemar, p": _p_value(row.mcnemar_holm),
            "Bootstrap, p": _p_value(row.bootstrap_holm),
            "Difference": "real" if row.real else "undecided",
        }
        for row in comparisons.itertuples()
    ]
    return pd.DataFrame(rows)


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_temperatures(table: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`temperature_table` as it is shown; before and after the scaling stand side by side."""
    formats = {
        "approach": ("Approach", "{}"),
        "seed": ("Seed", "{}"),
        "set_aside": ("Galaxies set aside", "{}"),
        "temperature": ("Temperature", "{:.2f}"),
        "ece": ("Calibration error", "{:.1%}"),
        "ece_scaled": ("Calibration error, scaled", "{:.1%}"),
        "brier": ("Brier score", "{:.3f}"),
        "brier_scaled": ("Brier score, scaled", "{:.3f}"),
    }
    return pd.DataFrame(
        {heading: table[name].map(form.format) for name, (heading, form) in formats.items() if name in table}
    )


def describe_build_or_adapt(table: pd.DataFrame) -> list[str]:
    """A sentence for each row of :func:`build_or_adapt`."""
    return [
        f"With {row.condition} {row.adapted} is {abs(row.difference) * 100:.1f} points "
        f"{'better' if row.difference > 0 else 'worse'} than {row.built} ({row.low * 100:+.1f} to "
        f"{row.high * 100:+.1f}): {'real' if row.real else 'undecided'}."
        for row in table.itertuples()
    ]


def format_ablations(table: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`compare_with_base` as it is shown."""
    return pd.DataFrame(
        {
            "Approach": table["approach"],
            "Changed": table["parameter"] + " = " + table["value"],
            "Accuracy": [f"{row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})" for row in table.itertuples()],
            "Unchanged": table["base_accuracy"].map("{:.1%}".format),
            "Difference, points": [
                f"{100 * row.difference:+.1f} ({100 * row.difference_low:+.1f} to {100 * row.difference_high:+.1f})"
                for row in table.itertuples()
            ],
            "Verdict": table["real"].map({True: "real", False: "undecided"}),
            "Seeds": table["seeds"],
        }
    )


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


def format_table(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The results table as it is shown. table: from :func:`average_seeds`; label: whose numbers they are."""
    percent = [f"{row.accuracy:.1%} ± {row.standard_error:.1%}" for row in table.itertuples()]
    return pd.DataFrame(
        {
            "Approach": table["approach"],
            f"Accuracy: {label}": percent,
            "95% interval": [f"{row.low:.1%} to {row.high:.1%}" for row in table.itertuples()],
            "SD of seeds": table["sd"].map("{:.1%}".format, na_action="ignore").fillna("–"),  # noqa: RUF001
            f"ROC AUC: {label}": table["roc_auc"].map("{:.3f}".format),
            f"Macro-F1: {label}": table["macro_f1"].map("{:.3f}".format),
            "Accuracy: paper": table["paper_accuracy"].map("{:.0%}".format, na_action="ignore").fillna("–"),  # noqa: RUF001
            "ROC AUC: paper": table["paper_roc_auc"].map("{:.3f}".format, na_action="ignore").fillna("–"),  # noqa: RUF001
            "Trained parameters": table["trained_parameters"].map("{:,.0f}".format),
            "Seeds": table["seeds"],
        }
    )


def score_table(metrics: dict) -> pd.DataFrame:
    """The scores of one run, and the recall of each class, as they are shown in its notebook."""
    scores = metrics["scores"]
    shown = {"Accuracy": scores["accuracy"], "ROC AUC": scores["roc_auc"], "Macro-F1": scores["macro_f1"]}
    recall = dict(zip((f"Recall: {name}" for name in CLASS_NAMES), scores["recall"], strict=True))
    return pd.Series({**shown, **recall}, dtype=float).round(3).to_frame("value")
