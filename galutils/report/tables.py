"""Tables as they are shown: headings in words, numbers as readers want them."""

from collections.abc import Sequence
from string import Formatter

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from galutils.data.classes import GALAXY10
from galutils.evaluation.bootstrap import Graded, coarsen, estimate
from galutils.evaluation.labels import describe_worth
from galutils.evaluation.metrics import COSTS, on_front, roc_auc
from galutils.evaluation.significance import BETTER, DECIDED, EQUIVALENT, OPEN, TOO_FEW, WORSE
from galutils.study.ablations import ONE_SEED

#: What stands where a number has no meaning or is not known.
DASH = "–"  # noqa: RUF001

#: Columns whose headings are not their names with a capital.
HEADINGS = {
    "accuracy_full": "Accuracy, full set",
    "accuracy_std": "SD of accuracy",
    "ami": "AMI",
    "ari": "ARI",
    "attention": "Change of attention",
    "auc_change": "Change of ROC AUC, hard",
    "change": "Change of accuracy",
    "cka": "CKA",
    "knn": "Nearest neighbours",
    "largest_angle": "Largest angle, degrees",
    "linear": "Linear probe",
    "macro_f1": "Macro-F1",
    "median_angle": "Median angle, degrees",
    "nmi": "NMI",
    "roc_auc": "ROC AUC",
    "roc_auc_full": "ROC AUC, hard, full set",
    "roc_auc_hard": "ROC AUC, hard",
    "roc_auc_soft": "ROC AUC, soft",
    "top2_accuracy": "Top-2 accuracy",
}

#: Tables that :func:`in_columns` writes: for each heading what stands below it.
TIMES = {
    "Approach": "{approach}",
    "Training (s)": "{train_seconds:,.1f}",
    "Images/s, training": "{train_images_per_second:,.0f}",
    "Images/s, prediction": "{predict_images_per_second:,.0f}",
}
TEMPERATURES = {
    "Approach": "{approach}",
    "Seed": "{seed}",
    "Galaxies set aside": "{set_aside}",
    "Temperature": "{temperature:.2f}",
    "Calibration error": "{ece:.1%}",
    "Calibration error, scaled": "{ece_scaled:.1%}",
    "Brier score": "{brier:.3f}",
    "Brier score, scaled": "{brier_scaled:.3f}",
}
CHANCE = {
    "Clusters": "{shares}",
    "Galaxies": "{galaxies:,}",
    "Accuracy": "{accuracy:.1%} ({accuracy_low:.1%} to {accuracy_high:.1%})",
    "ROC AUC, hard": "{roc_auc_hard:.3f} ({roc_auc_hard_low:.3f} to {roc_auc_hard_high:.3f})",
}
CALIBRATION = {
    "Accuracy": "{accuracy:.1%}",
    "Mean confidence": "{confidence:.1%}",
    "Calibration error": "{ece:.1%}",
    "of true probabilities": "{chance_ece:.1%}",
    "p": "{p:p-value}",
    "Confidence less accuracy, points": "{gap:+.1p} ({gap_low:+.1p} to {gap_high:+.1p})",
    "Brier score": "{brier:.3f} ({brier_low:.3f} to {brier_high:.3f})",
}
BASELINES = {"Baseline": "{title}", "Accuracy": "{accuracy:.1%} ({low:.1%} to {high:.1%})"}
COMPARISONS = {
    "Approach": "{first}",
    "against": "{second}",
    "Second less first, points": "{difference:+.1p} ({low:+.1p} to {high:+.1p})",
    "Right alone: first, second": "{only_first:.0f}, {only_second:.0f} of {galaxies:,}",
    "p": "{p:p-value}",
    "Seeds": "{seeds}",
    "The second is": "{told}",
}
CONFUSIONS = {
    "Approach": "{approach}",
    "True class": "{true}",
    "taken for": "{predicted}",
    "Share": "{share:.0%}",
    "Galaxies": "{galaxies:,} of {of:,}",
}
ABLATIONS = {
    "Approach": "{approach}",
    "Changed": "{parameter} = {value}",
    "Accuracy": "{accuracy:.1%} ({low:.1%} to {high:.1%})",
    "Unchanged": "{base_accuracy:.1%}",
    "Difference, points": "{difference:+.1p} ({difference_low:+.1p} to {difference_high:+.1p})",
    "Verdict": "{told}",
    "Seeds": "{seeds}",
}
TRANSFER = {
    "Approach": "{approach}",
    "At home": "{at_home:.1%}",
    "There": "{accuracy:.1%} ({low:.1%} to {high:.1%})",
    "Marked as unlike": "{unlike:.1%}",
    "Proportions corrected": "{shifted:.1%}",
    "Field of view not matched": "{unmatched:.1%}",
}
TRANSFER_CALIBRATION = {
    "Approach": "{approach}",
    "Calibration error": "{ece:.1%}",
    "with the temperature of home": "{ece_scaled:.1%}",
    "with proportions corrected": "{ece_shifted:.1%}",
}


CONTRASTS = {
    "Labels": "{n:,}",
    "Way": "{second}",
    "against": "{first}",
    "Difference, points": "{value:+.1p} ({low:+.1p} to {high:+.1p})",
    "The way is": "{verdict}",
}
WORTH = {
    "Labels": "{n:,}",
    "Way": "{second}",
    "against": "{first}",
    "A label is worth": "{worth_words}",
    "95% interval": "{interval_words}",
}
LABEL_COSTS = {
    "Way": "{approach}",
    "Labels": "{n:,}",
    "Trained parameters": "{parameters:,.0f}",
    "Training (s)": "{train_seconds:,.0f}",
    "Images/s, prediction": "{predict_images_per_second:,.0f}",
}


class _Forms(Formatter):
    """Python's, and ``p`` for a share in points of a percentage, and ``p-value``."""

    def format_field(self, value, form: str) -> str:
        if form == "p-value":
            return "< 0.001" if value < 0.001 else f"{value:.3f}"
        return f"{value:{form[:-1]}%}"[:-1] if form.endswith("p") else format(value, form)


def heading(column: str) -> str:
    """A column's name in words."""
    return HEADINGS.get(column, column.replace("_", " ").capitalize())


#: Scores that rare classes weigh in.
IMBALANCE = {name: heading(name) for name in ("balanced_accuracy", "macro_f1", "roc_auc", "top2_accuracy")}


def in_words(table: pd.DataFrame, index: bool = False, **places: int) -> Styler:
    """A table of numbers, ready to be shown; with index, its rows' names too.

    places: decimal places of columns that have others than three.
    """
    forms = {column: f"{{:.{count}f}}" for column, count in places.items()}
    styler = table.style.format(forms, precision=3, na_rep="").format_index(heading, axis=1)
    return styler if index else styler.hide()


def in_columns(table: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Columns of text, such as :data:`TIMES`: for each heading a form with the names of a row's values.

    A dash where one of its values is missing; no column where the table has none.
    """
    forms, rows = _Forms(), table.to_dict("records")
    written = {}
    for title, form in columns.items() if len(table.columns) else ():
        names = [name for _, name, _, _ in forms.parse(form) if name]
        known = zip(rows, table[names].notna().all(axis=1), strict=True)
        written[title] = [forms.vformat(form, (), row) if complete else DASH for row, complete in known]
    return pd.DataFrame(written, index=table.index)


def format_table(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The results table. table: :attr:`galutils.study.results.Results.shown`; label: whose numbers they are."""
    columns = {
        "Approach": "{approach}",
        f"Accuracy: {label}": "{accuracy:.1%} ± {standard_error:.1%}",
        "95% interval": "{low:.1%} to {high:.1%}",
        "SD of seeds": "{sd:.1%}",
        f"ROC AUC: {label}": "{roc_auc:.3f}",
        f"Macro-F1: {label}": "{macro_f1:.3f}",
        "Accuracy: paper": "{paper_accuracy:.0%}",
        "ROC AUC: paper": "{paper_roc_auc:.3f}",
        "Trained parameters": "{trained_parameters:,.0f}",
        "Seeds": "{seeds:.0f}",
    }
    if table["paper_accuracy"].isna().all():  # no row of the paper, or other classes than its
        columns = {title: form for title, form in columns.items() if not title.endswith("paper")}
    return in_columns(table, columns)


def curve_table(table: pd.DataFrame) -> pd.DataFrame:
    """The curves of :func:`galutils.evaluation.labels.curves`, a row for each way and a column for each number."""
    written = in_columns(table, {"score": "{value:.1%} ({low:.0p} to {high:.0p})"})["score"]
    wide = table[["approach", "n"]].assign(score=written).pivot(index="approach", columns="n", values="score")
    named = wide.rename(columns="{:,} labels".format).rename_axis(index=None, columns=None)
    return named.loc[table["approach"].unique()]


def lesson_curve(estimates: dict[str, pd.DataFrame], counts: Sequence[int]) -> pd.DataFrame:
    """The accuracy of the first lessons, those of plain numbers of galaxies, as a curve ``x``."""
    rows = [table.loc["accuracy", ["mean", "low", "high"]] for table in estimates.values()][: len(counts)]
    return pd.DataFrame(rows).rename(columns={"mean": "accuracy"}).assign(x=counts).reset_index(drop=True)


def worth_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`galutils.evaluation.labels.label_worth` in words."""
    words = [describe_worth(row) for _, row in table.iterrows()]
    return in_columns(table.assign(worth_words=[w for w, _ in words], interval_words=[i for _, i in words]), WORTH)


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """What each approach of the results table costs; a star where it is on the front of accuracy and that cost."""
    columns = in_columns(table, {"Approach": "{approach}", "Accuracy": "{accuracy:.1%}"})
    for column, (label, less_is_better) in COSTS.items():
        # In millions, else nobody could read it.
        unit, suffix = (1e6, ", millions") if column == "multiply_adds" else (1, "")
        stars = np.where(on_front(table[column], table["accuracy"], less_is_better), " *", "")
        costs = pd.DataFrame({"cost": table[column].astype(float) / unit})
        columns[label + suffix] = in_columns(costs, {"cost": "{cost:,.0f}"})["cost"] + stars
    return columns


def score_table(found: pd.DataFrame) -> pd.DataFrame:
    """Scores of one run with intervals. found: from :func:`galutils.evaluation.bootstrap.estimate`."""
    shares = {"Value": "{mean:.1%}", "95% interval": "{low:.1%} to {high:.1%}"}
    area = {name: form.replace(".1%", ".3f") for name, form in shares.items()}
    forms = {"accuracy": shares, "roc_auc": area, "macro_f1": shares}
    return pd.concat([in_columns(found.loc[[name]], form) for name, form in forms.items()]).rename(index=heading)


def interval_table(estimates: dict[str, pd.DataFrame], scores: dict[str, str]) -> pd.DataFrame:
    """Scores with their intervals, "71.2% (64 to 77)", one row per approach.

    estimates: by approach, from :func:`galutils.evaluation.bootstrap.estimate`; scores: headings of those to show.
    """
    form = {"score": "{mean:.1%} ({low:.0p} to {high:.0p})"}
    found = {title: in_columns(table.loc[[*scores]], form)["score"] for title, table in estimates.items()}
    return pd.DataFrame(found).T.rename(columns=scores)


def auc_table(graded: dict[str, dict[int, Graded]]) -> pd.DataFrame:
    """ROC AUC in its three averages, means over seeds, one row per approach of those that give probabilities."""
    kinds = ("macro", "weighted", "micro")
    found = {
        title: [np.mean([roc_auc(own.labels, own.probabilities, kind) for own in seeds.values()]) for kind in kinds]
        for title, seeds in graded.items()
        if all(own.probabilities is not None for own in seeds.values())
    }
    return pd.DataFrame(found, index=[heading(kind) for kind in kinds]).T


def coarse_table(graded: dict[str, dict[int, Graded]]) -> pd.DataFrame:
    """Scores by coarse classes with their intervals, one row per approach; empty where classes are not Galaxy10's."""
    known = {title: seeds for title, seeds in graded.items() if next(iter(seeds.values())).classes == GALAXY10}
    found = {title: estimate([coarsen(own) for own in seeds.values()]) for title, seeds in known.items()}
    scores = {name: heading(name) for name in ("accuracy", "balanced_accuracy")}
    return interval_table(found, scores) if found else pd.DataFrame()


def class_table(estimates: dict[str, pd.DataFrame], score: str) -> pd.DataFrame:
    """ "recall" or "precision" by class (rows) and approach (columns), with intervals.

    Or, by two similar classes, "confused": the share of their galaxies that is taken for the other one.
    """
    known = next(iter(estimates.values())).index
    scores = {name: name.removeprefix(f"{score} ") for name in known if name.startswith(f"{score} ")}
    return interval_table(estimates, scores).T


def describe_build_or_adapt(table: pd.DataFrame) -> list[str]:
    """A line for each row of :func:`galutils.study.ablations.build_or_adapt`, without a verdict."""
    return [
        f"With {row.condition}: {row.adapted} less {row.built}, {row.difference * 100:+.1f} points (95% interval of "
        f"this pair alone {row.low * 100:+.1f} to {row.high * 100:+.1f}; seeds: {row.seeds})."
        for row in table.itertuples()
    ]


#: What is said of so many changes, by their verdict; of the first two which ones, the largest first.
_CHANGED = {
    BETTER: "better than the network unchanged",
    WORSE: "worse",
    EQUIVALENT: "equivalent within the margin",
    OPEN: "undecided",
    TOO_FEW: "of too few seeds to be judged",
    ONE_SEED: "of one seed and not judged",
}


def describe_changes(changes: pd.DataFrame, most: int = 3) -> str:
    """How the changes of :attr:`galutils.study.results.Results.changes` came out, in a sentence."""
    if changes.empty:
        return "This profile changes no parameter: name some under ablations in its configuration."
    found = []
    for verdict, words in _CHANGED.items():
        own = changes[changes["verdict"] == verdict].sort_values("difference", key=abs, ascending=False)
        names = [f"{r.approach}, {r.parameter} = {r.value}, {100 * r.difference:+.1f}" for r in own.itertuples()]
        named = f" ({'; '.join(names[:most])} points{'; …' * (len(names) > most)})" if verdict in DECIDED else ""
        found += [f"{len(own)} {'is' if len(own) == 1 else 'are'} {words}{named}"] if len(own) else []
    return f"Of {len(changes)} {'change' if len(changes) == 1 else 'changes'} of one parameter: {', '.join(found)}."


#: What an ablation's parameter is, and what the paper says of it.
_PARAMETERS = {
    "init": "the paper's wide normal distribution, N(0, variance 0.01), against Kaiming's, which keeps the size of "
    "signals from layer to layer, and against N(0, SD 0.01), which the number may have meant",
    "widths": "as many channels throughout, against twice as many from block to block as in VGG11",
    "average_pool": "1 leaves the custom network's first pooling out, 4 widens it; `first`: maxima, or every second "
    "pixel, in its place",
    "hidden": "a linear layer with ReLU and batch normalisation before the custom network's last, as the paper's "
    "figure A.3 may be read",
    "head": "of a fine-tuned VGG: ours, a linear layer, VGG's own two hidden layers, or those with their pretrained "
    'weights; "the classifier head" of the paper may be any of them',
    "augment": "each training image turned by quarters and flipped, anew in every epoch. Galaxies have no up, so no "
    "label changes; the paper left it out. Frozen layers then run in every epoch",
    "later_layers": "new ones of a VGG that is adapted with batch normalisation, or plain, without",
    "frozen_convs": "see the curve from deep to shallow",
    "train_fraction": "see the curve of how many galaxies it takes",
    "calibration_fraction": "the runs of the page on calibration, and what setting those galaxies aside costs",
}


def describe_parameters(changes: pd.DataFrame) -> str:
    """Markdown: what the parameters of :attr:`galutils.study.results.Results.changes` are, as far as it is known."""
    varied = set(changes["parameter"])
    return "\n".join(f"- `{name}`: {told}." for name, told in _PARAMETERS.items() if name in varied)


def describe_transfer(name: str, table: pd.DataFrame) -> str:
    """How often each approach of a table of :func:`galutils.predict.transfer.transfer` is right there and at home."""
    scores = [
        f"{row.approach} {row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%}; at home {row.at_home:.1%})"
        for row in table.sort_values("accuracy", ascending=False).itertuples()
    ]
    return f"Right on {name}: {'; '.join(scores)}."
