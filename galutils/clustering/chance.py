"""Why the paper's clusterings score near chance: the candidate causes, each tested alone, and what they show.

The numbers come from ``diagnostics.py``; here they are brought into one table and put into words.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from galutils.clustering.diagnostics import null_accuracies
from galutils.data.classes import GALAXY10, GALAXY10_COUNTS
from galutils.evaluation.paper import APPROACHES

_ROW = APPROACHES["dino_kmeans"]
#: What the paper reports of its fifth row; the sixth differs by 0.001 in ROC AUC.
PAPER_ACCURACY, PAPER_ROC_AUC = _ROW.accuracy, _ROW.roc_auc


def paper_null(cluster_shares: np.ndarray, classes: Sequence[str], permutations: int = 200) -> np.ndarray | None:
    """Matched accuracies (permutations,) of meaningless clusters of these shares (K,) on the full Galaxy10 DECaLS.

    Its labels are known by their counts, so this needs no image. None where the classes are others.
    """
    if tuple(classes) != GALAXY10:
        return None
    labels = np.repeat(np.arange(len(GALAXY10_COUNTS)), GALAXY10_COUNTS)
    edges = np.round(np.cumsum(cluster_shares) / np.sum(cluster_shares) * len(labels)).astype(int)
    clusters = np.searchsorted(edges, np.arange(len(labels)), side="right")
    return null_accuracies(labels, clusters, permutations)


def describe_null(null: np.ndarray, full_null: np.ndarray | None) -> str:
    """What permuted labels get here, and on the class counts of the full set, see :func:`paper_null`, a line each."""
    said = f"Permuted labels, these galaxies: {null.mean():.1%}, SD {null.std():.1%}, highest {null.max():.1%}"
    if full_null is None:
        return said
    return (
        f"{said}\nPermuted labels, the full set's class counts: {full_null.mean():.1%}, highest {full_null.max():.1%}"
    )


def collect_cases(
    assessed: dict[str, pd.DataFrame], clusterers: pd.DataFrame, faults: pd.DataFrame, chance: float
) -> pd.DataFrame:
    """Every case that was tested: ``cause``, ``case``, ``accuracy``, ``chance``, ``nmi``, ``roc_auc_hard``.

    Args:
        assessed, clusterers, faults: from ``assess_all``, ``compare_clusterers`` and ``evaluation_faults``.
        chance: accuracy of permuted labels under one-to-one matching.
    """
    parts = [table.rename_axis("case").reset_index().assign(cause=cause) for cause, table in assessed.items()]
    names = clusterers["method"] + ", " + clusterers["clusters"].astype(str) + " clusters, " + clusterers["matching"]
    parts.append(clusterers.assign(cause="clusterer", case=names))
    wrong = faults[faults["fault"] != "none"].rename(columns={"fault": "case"})
    parts.append(wrong.assign(cause="fault of evaluation"))
    table = pd.concat(parts, ignore_index=True)[["cause", "case", "accuracy", "chance", "nmi", "roc_auc_hard"]]
    return table.fillna({"chance": chance})


def implied_recall(roc_auc: float, accuracy: float, num_classes: int = len(GALAXY10_COUNTS)) -> float:
    """Mean recall of hard assignments with this macro ROC AUC and accuracy.

    With one predicted class per row, the curve of a class has one corner and its area is the mean of recall
    and specificity; the false positives of all classes together are the wrong rows, nearly evenly spread.
    """
    return 2 * roc_auc - 1 + (1 - accuracy) / (num_classes - 1)


def conclude(
    null: np.ndarray, full_null: np.ndarray | None, references: pd.DataFrame, cases: pd.DataFrame, drift: pd.DataFrame
) -> list[str]:
    """What the numbers support and what they cannot decide, as sentences.

    Args:
        null: accuracies of the reported clusters under permuted labels; full_null: from
            :func:`paper_null`, or None where the classes are not the paper's, so that its numbers say nothing here.
        references: table of ``assess``, whose row "frozen transformer" is the paper's.
        cases, drift: from :func:`collect_cases` and ``drift_table``.
    """
    frozen = references.loc["frozen transformer"]
    excess = (frozen["accuracy"] - null.mean()) / max(null.std(), 1e-9)
    above = "not distinguishable from"
    if excess > 2:
        above = f"{excess:.0f}" if excess > 5 else f"only {excess:.1f}"
        above += " standard deviations above"
    probes = (
        f"a linear probe of the very same embedding gets {frozen['linear']:.1%} and its ten nearest neighbours "
        f"{frozen['knn']:.1%}, k-means {frozen['accuracy']:.1%}"
    )
    sentences = [
        f"A meaningless clustering of these galaxies gets {null.mean():.1%} from the matching; the embedding clustered "
        f"here gets {frozen['accuracy']:.1%}: {above} chance.",
        f"The information is there: {probes}. What fails is the step from embedding to clusters, not the embedding."
        if frozen["linear"] > 1.5 * frozen["accuracy"]
        else f"A{probes[1:]}: labels find little in it that clusters miss.",
    ]
    if full_null is not None:
        sentences += _beside_the_paper(full_null, frozen, cases)
    methods = cases[(cases["cause"] == "clusterer") & ~cases["case"].str.contains("many-to-one")]
    best = methods.loc[methods["accuracy"].idxmax()]
    matters = "matters" if best["accuracy"] > 1.25 * frozen["accuracy"] else "is not what holds the score down"
    sentences.append(
        f"Of the other clusterers with one cluster per class, {best['case'].split(',')[0]} does best with "
        f"{best['accuracy']:.1%}, against {frozen['accuracy']:.1%} for k-means: the choice of the clusterer {matters}."
    )
    sentences += [
        f"{name}: similarity to the frozen embedding (CKA) {row['cka']:.3f}, largest angle between their leading "
        f"components {row['largest_angle']:.0f}°, accuracy {row['change'] * 100:+.1f} points."
        for name, row in drift.iterrows()
    ]
    if full_null is not None:
        sentences.append(
            "What this cannot decide: which of these happened in the paper, since neither its cluster assignments nor "
            "its predictions are published; every cause that brings a sound clustering down to its score remains "
            "possible."
        )
    return sentences


def _beside_the_paper(full_null: np.ndarray, frozen: pd.Series, cases: pd.DataFrame) -> list[str]:
    """What the paper's accuracy and ROC AUC are near to."""
    largest = max(GALAXY10_COUNTS) / sum(GALAXY10_COUNTS)
    sentences = [
        f"On the labels of the full set, meaningless clusters of the same shares would get {full_null.mean():.1%}, and "
        f"a single cluster {largest:.1%}: the paper's {PAPER_ACCURACY:.0%} is "
        f"{(PAPER_ACCURACY - full_null.mean()) * 100:.1f} and {(PAPER_ACCURACY - largest) * 100:.1f} points above.",
        f"A ROC AUC of {PAPER_ROC_AUC} goes with hard assignments of a mean recall of about "
        f"{implied_recall(PAPER_ROC_AUC, PAPER_ACCURACY):.0%}, which fits an accuracy of {PAPER_ACCURACY:.0%}. From "
        f"soft assignments the clustering here has {frozen['roc_auc_soft']:.3f}, from hard ones "
        f"{frozen['roc_auc_hard']:.3f}: the paper's way of scoring hides part of what the distances know.",
    ]
    faulty = cases[(cases["cause"] == "fault of evaluation") & (cases["accuracy"] <= PAPER_ACCURACY)]
    if frozen["accuracy"] > PAPER_ACCURACY and len(faulty):
        names = "; ".join(f"{row.case} ({row.accuracy:.1%})" for row in faulty.itertuples())
        sentences.append(
            f"Evaluated rightly, this clustering is above the paper's {PAPER_ACCURACY:.0%}; each of these mistakes "
            f"would bring it down to that or below: {names}."
        )
    nearest = cases.loc[(cases["roc_auc_hard"] - PAPER_ROC_AUC).abs().idxmin()]
    return [
        *sentences,
        f"Of all cases here whose hard assignments were scored, the ROC AUC nearest to the paper's {PAPER_ROC_AUC} is "
        f"{nearest['roc_auc_hard']:.3f}: {nearest['cause']}, {nearest['case']}.",
    ]
