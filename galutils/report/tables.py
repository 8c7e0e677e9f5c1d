"""Tables as they are shown: headings in words, numbers as readers want them."""

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from galutils.data.galaxy10 import CLASS_NAMES
from galutils.evaluation.bootstrap import CONFUSABLE
from galutils.evaluation.cost import COSTS, on_front

#: What stands where a number has no meaning or is not known.
DASH = "–"  # noqa: RUF001

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

#: Scores that rare classes weigh in.
IMBALANCE = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro-F1",
    "roc_auc": "ROC AUC",
    "top2_accuracy": "Top-2 accuracy",
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


def shown(values: pd.Series, form: str) -> pd.Series:
    """Numbers as text; a dash where there is none."""
    return values.map(form.format, na_action="ignore").fillna(DASH)


def _columns(table: pd.DataFrame, columns: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """Columns as text: for each heading the column's name and the numbers' form."""
    return pd.DataFrame({heading: shown(table[name], form) for heading, (name, form) in columns.items()})


def _points(table: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    """Differences in points of a percentage, "+1.2 (-0.3 to +2.7)"."""
    return [f"{a:+.1f} ({b:+.1f} to {c:+.1f})" for a, b, c in 100 * table[[value, low, high]].to_numpy(float)]


def format_table(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The results table. table: :attr:`galutils.study.results.Results.table`; label: whose numbers they are."""
    scores = {
        "SD of seeds": ("sd", "{:.1%}"),
        f"ROC AUC: {label}": ("roc_auc", "{:.3f}"),
        f"Macro-F1: {label}": ("macro_f1", "{:.3f}"),
        "Accuracy: paper": ("paper_accuracy", "{:.0%}"),
        "ROC AUC: paper": ("paper_roc_auc", "{:.3f}"),
        "Trained parameters": ("trained_parameters", "{:,.0f}"),
        "Seeds": ("seeds", "{}"),
    }
    accuracy = {
        "Approach": table["approach"],
        f"Accuracy: {label}": [f"{row.accuracy:.1%} ± {row.standard_error:.1%}" for row in table.itertuples()],
        "95% interval": [f"{row.low:.1%} to {row.high:.1%}" for row in table.itertuples()],
    }
    return pd.DataFrame(accuracy).join(_columns(table, scores))


def time_table(table: pd.DataFrame) -> pd.DataFrame:
    """What training and prediction took. table: :attr:`galutils.study.results.Results.table`."""
    columns = {
        "Approach": ("approach", "{}"),
        "Training (s)": ("train_seconds", "{:,.1f}"),
        "Images/s, training": ("train_images_per_second", "{:,.0f}"),
        "Images/s, prediction": ("predict_images_per_second", "{:,.0f}"),
    }
    return _columns(table, columns)


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """What each approach costs; a star where it is on the front of accuracy and that cost.

    Args:
        table: :attr:`galutils.study.results.Results.table`.
    """
    columns = _columns(table, {"Approach": ("approach", "{}"), "Accuracy": ("accuracy", "{:.1%}")})
    for column, (label, less_is_better) in COSTS.items():
        # In millions, else nobody could read it.
        unit, suffix = (1e6, ", millions") if column == "multiply_adds" else (1, "")
        stars = np.where(on_front(table[column], table["accuracy"], less_is_better), " *", "")
        columns[label + suffix] = shown(table[column].astype(float) / unit, "{:,.0f}") + stars
    return columns


def score_table(run) -> pd.DataFrame:
    """The scores of one :class:`galutils.study.runs.Run`, and the recall of each class."""
    scores = run.metrics["scores"]
    rows = {"Accuracy": scores["accuracy"], "ROC AUC": scores["roc_auc"], "Macro-F1": scores["macro_f1"]}
    recall = dict(zip((f"Recall: {name}" for name in CLASS_NAMES), scores["recall"], strict=True))
    return pd.Series({**rows, **recall}, dtype=float).round(3).to_frame("value")


def with_interval(score: pd.Series) -> str:
    """ "71% (64 to 77)"; a dash where the score has no meaning."""
    if not np.isfinite(score["mean"]):
        return DASH
    return f"{score['mean']:.1%} ({score['low'] * 100:.0f} to {score['high'] * 100:.0f})"


def interval_table(estimates: dict[str, pd.DataFrame], scores: dict[str, str]) -> pd.DataFrame:
    """Scores with their intervals, one row per approach.

    Args:
        estimates: for each approach all its scores, see :func:`galutils.evaluation.bootstrap.estimate`.
        scores: the heading of each score that is shown.
    """
    rows = {
        title: {label: with_interval(table.loc[name]) for name, label in scores.items()}
        for title, table in estimates.items()
    }
    return pd.DataFrame(rows).T


def confusable_table(estimates: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """For each approach the share of the galaxies of two similar classes that it takes for the other one."""
    return interval_table(estimates, {f"confused {pair}": pair.capitalize() for pair in CONFUSABLE})


def class_table(estimates: dict[str, pd.DataFrame], score: str) -> pd.DataFrame:
    """ "recall" or "precision" by class (rows) and approach (columns), with intervals."""
    return interval_table(estimates, {f"{score} {label}": name for label, name in enumerate(CLASS_NAMES)}).T


def format_comparisons(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Pairs of approaches. comparisons: from :func:`galutils.evaluation.significance.compare`."""
    alone = [f"{row.only_first:.0f}, {row.only_second:.0f} of {row.galaxies:,}" for row in comparisons.itertuples()]
    return pd.DataFrame(
        {
            "Approach": comparisons["first"],
            "against": comparisons["second"],
            "Second less first, points": _points(comparisons, "difference", "low", "high"),
            "Right alone: first, second": alone,
            "McNemar, p": comparisons["mcnemar_holm"].map(_p_value),
            "Bootstrap, p": comparisons["bootstrap_holm"].map(_p_value),
            "Difference": comparisons["real"].map({True: "real", False: "undecided"}),
        }
    )


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def format_ablations(table: pd.DataFrame) -> pd.DataFrame:
    """What each change changes. table: from :func:`galutils.study.ablations.compare_with_base`."""
    return pd.DataFrame(
        {
            "Approach": table["approach"],
            "Changed": table["parameter"] + " = " + table["value"],
            "Accuracy": [f"{row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})" for row in table.itertuples()],
            "Unchanged": shown(table["base_accuracy"], "{:.1%}"),
            "Difference, points": _points(table, "difference", "difference_low", "difference_high"),
            "Verdict": table["real"].map({True: "real", False: "undecided"}),
            "Seeds": table["seeds"],
        }
    )


def describe_build_or_adapt(table: pd.DataFrame) -> list[str]:
    """A sentence for each row of :func:`galutils.study.ablations.build_or_adapt`."""
    return [
        f"With {row.condition} {row.adapted} is {abs(row.difference) * 100:.1f} points "
        f"{'better' if row.difference > 0 else 'worse'} than {row.built} ({row.low * 100:+.1f} to "
        f"{row.high * 100:+.1f}): {'real' if row.real else 'undecided'}."
        for row in table.itertuples()
    ]


def format_temperatures(table: pd.DataFrame) -> pd.DataFrame:
    """What temperatures change, from :func:`galutils.study.temperature.temperature_table`, which may be empty."""
    columns = {
        "Approach": ("approach", "{}"),
        "Seed": ("seed", "{}"),
        "Galaxies set aside": ("set_aside", "{}"),
        "Temperature": ("temperature", "{:.2f}"),
        "Calibration error": ("ece", "{:.1%}"),
        "Calibration error, scaled": ("ece_scaled", "{:.1%}"),
        "Brier score": ("brier", "{:.3f}"),
        "Brier score, scaled": ("brier_scaled", "{:.3f}"),
    }
    return _columns(table, columns if len(table) else {})


def format_calibration(table: pd.DataFrame) -> pd.DataFrame:
    """How far probabilities can be believed. table: :func:`galutils.evaluation.calibration.calibration_table`."""
    columns = {
        "Accuracy": ("accuracy", "{:.1%}"),
        "Mean confidence": ("confidence", "{:.1%}"),
        "Calibration error": ("ece", "{:.1%}"),
        "of perfect probabilities": ("chance_ece", "{:.1%}"),
    }
    brier = [f"{row.brier:.3f} ({row.brier_low:.3f} to {row.brier_high:.3f})" for row in table.itertuples()]
    return _columns(table, columns).assign(**{"Brier score": brier})


def format_noise(table: pd.DataFrame) -> pd.DataFrame:
    """What suspects explain. table: from :func:`galutils.evaluation.label_noise.explain_errors`."""
    columns = {
        "Error": ("error", "{:.1%}"),
        "Errors explained": ("explained", "{:.1%}"),
        "Suspects among the right": ("among_right", "{:.1%}"),
        "Agreed": ("agreed", "{:.1%}"),
        "Error without suspects": ("error_without", "{:.1%}"),
    }
    shares = _columns(table, columns)
    shares["Errors explained"] += [f" ({100 * row.low:.0f} to {100 * row.high:.0f})" for row in table.itertuples()]
    return shares
