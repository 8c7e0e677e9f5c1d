"""Why the paper's clusterings score near chance: the candidate causes, each tested alone, and what they show.

The numbers come from ``diagnostics.py``; here they are brought into one table and put into words.
"""

import numpy as np
import pandas as pd

from galutils.clustering.diagnostics import null_accuracies
from galutils.data.galaxy10 import CLASS_COUNTS
from galutils.evaluation.paper import APPROACHES

_ROW = APPROACHES["dino_kmeans"]
#: What the paper reports of its fifth row; the sixth differs by 0.001 in ROC AUC.
PAPER_ACCURACY, PAPER_ROC_AUC = _ROW.paper_accuracy, _ROW.paper_roc_auc


def paper_null(cluster_shares: np.ndarray, permutations: int = 200, seed: int = 0) -> np.ndarray:
    """Matched accuracy of meaningless clusters on the labels of the full Galaxy10 DECaLS.

    Its labels are known by their counts, so this needs no image.

    Args:
        cluster_shares: (K,) share of the rows in each cluster.

    Returns:
        (permutations,) float64.
    """
    labels = np.repeat(np.arange(len(CLASS_COUNTS)), CLASS_COUNTS)
    edges = np.round(np.cumsum(cluster_shares) / np.sum(cluster_shares) * len(labels)).astype(int)
    clusters = np.searchsorted(edges, np.arange(len(labels)), side="right")
    return null_accuracies(labels, clusters, permutations, seed)


def collect_cases(
    assessed: dict[str, pd.DataFrame], clusterers: pd.DataFrame, faults: pd.DataFrame, chance: float
) -> pd.DataFrame:
    """Every case that was tested, in one table.

    Args:
        assessed: for each cause a table of :func:`galutils.clustering.diagnostics.assess`, indexed by case.
        clusterers: from :func:`galutils.clustering.diagnostics.compare_clusterers`.
        faults: from :func:`galutils.clustering.diagnostics.evaluation_faults`.
        chance: accuracy of permuted labels under one-to-one matching.

    Returns:
        ``cause``, ``case``, ``accuracy``, ``chance`` and, where there are any, ``nmi`` and ``roc_auc_hard``.
    """
    rows = []
    for cause, table in assessed.items():
        for case, scores in table.to_dict("index").items():
            rows.append({"cause": cause, "case": case, "chance": chance, **_pick(scores)})
    for scores in clusterers.to_dict("records"):
        case = f"{scores['method']}, {scores['clusters']} clusters, {scores['matching']}"
        rows.append({"cause": "clusterer", "case": case, "chance": scores["chance"], **_pick(scores)})
    for scores in faults.to_dict("records"):
        if scores["fault"] != "none":
            rows.append({"cause": "fault of evaluation", "case": scores["fault"], "chance": chance, **_pick(scores)})
    return pd.DataFrame(rows, columns=["cause", "case", "accuracy", "chance", "nmi", "roc_auc_hard"])


def _pick(scores: dict) -> dict:
    return {name: scores[name] for name in ("accuracy", "nmi", "roc_auc_hard") if name in scores}


def implied_recall(roc_auc: float, accuracy: float, classes: int = 10) -> float:
    """Mean recall of hard assignments with this macro ROC AUC and accuracy.

    With one predicted class per row, the curve of a class has one corner and its area is the mean of recall
    and specificity; the false positives of all classes together are the wrong rows, nearly evenly spread.
    """
    return 2 * roc_auc - 1 + (1 - accuracy) / (classes - 1)


def verdict(
    null: np.ndarray, full_null: np.ndarray, references: pd.DataFrame, cases: pd.DataFrame, drift: pd.DataFrame
) -> list[str]:
    """What the numbers support and what they cannot decide, as sentences.

    Args:
        null: accuracies of the reported clusters under permuted labels.
        full_null: the same for clusters of those shares on the full set's labels, see :func:`paper_null`.
        references: table of :func:`diagnostics.assess`, whose row "frozen transformer" is the paper's.
        cases: from :func:`collect_cases`.
        drift: one row per fine-tuned network with ``cka``, ``largest_angle`` (degrees) and ``change`` (of the
            accuracy against the frozen network), indexed by its name.
    """
    frozen = references.loc["frozen transformer"]
    excess = (frozen["accuracy"] - null.mean()) / max(null.std(), 1e-9)
    above = (
        f"{excess:.0f} standard deviations above"
        if excess > 5
        else f"only {excess:.1f} standard deviations above"
        if excess > 2
        else "not distinguishable from"
    )
    largest = max(CLASS_COUNTS) / sum(CLASS_COUNTS)
    sentences = [
        f"A meaningless clustering of these galaxies gets {null.mean():.1%} from the matching. On the labels of the "
        f"full set, clusters of the same shares would get {full_null.mean():.1%}, and a single cluster {largest:.1%}: "
        f"the paper's {PAPER_ACCURACY:.0%} is {(PAPER_ACCURACY - full_null.mean()) * 100:.1f} and "
        f"{(PAPER_ACCURACY - largest) * 100:.1f} points above. The embedding clustered here gets "
        f"{frozen['accuracy']:.1%}: {above} chance.",
        f"A ROC AUC of {PAPER_ROC_AUC} goes with hard assignments of a mean recall of about "
        f"{implied_recall(PAPER_ROC_AUC, PAPER_ACCURACY):.0%}, which fits an accuracy of {PAPER_ACCURACY:.0%}. From "
        f"soft assignments the clustering here has {frozen['roc_auc_soft']:.3f}, from hard ones "
        f"{frozen['roc_auc_hard']:.3f}: the paper's way of scoring hides part of what the distances know.",
    ]
    if frozen["linear"] > 1.5 * frozen["accuracy"]:
        sentences.append(
            f"The information is there: a linear probe of the very same embedding gets {frozen['linear']:.1%} and its "
            f"ten nearest neighbours {frozen['knn']:.1%}, k-means {frozen['accuracy']:.1%}. What fails is the "
            "step from embedding to clusters, not the embedding."
        )
    else:
        sentences.append(
            f"A linear probe of the very same embedding gets {frozen['linear']:.1%} and its ten nearest neighbours "
            f"{frozen['knn']:.1%}, k-means {frozen['accuracy']:.1%}: labels find little in it that clusters miss."
        )
    faulty = cases[(cases["cause"] == "fault of evaluation") & (cases["accuracy"] <= PAPER_ACCURACY)]
    if frozen["accuracy"] > PAPER_ACCURACY and len(faulty):
        names = "; ".join(f"{row.case} ({row.accuracy:.1%})" for row in faulty.itertuples())
        sentences.append(
            f"Evaluated rightly, this clustering is above the paper's {PAPER_ACCURACY:.0%}; each of these mistakes "
            f"would bring it down to that or below: {names}."
        )
    nearest = cases.loc[(cases["roc_auc_hard"] - PAPER_ROC_AUC).abs().idxmin()]
    sentences.append(
        f"Of all cases here whose hard assignments were scored, the ROC AUC nearest to the paper's {PAPER_ROC_AUC} is "
        f"{nearest['roc_auc_hard']:.3f}: {nearest['cause']}, {nearest['case']}."
    )
    methods = cases[(cases["cause"] == "clusterer") & ~cases["case"].str.contains("many-to-one")]
    best = methods.loc[methods["accuracy"].idxmax()]
    sentences.append(
        f"Of the other clusterers with one cluster per class, {best['case'].split(',')[0]} does best with "
        f"{best['accuracy']:.1%}, against {frozen['accuracy']:.1%} for k-means: "
        + (
            "the choice of the clusterer matters."
            if best["accuracy"] > 1.25 * frozen["accuracy"]
            else "the choice of the clusterer is not what holds the score down."
        )
    )
    for name, row in drift.iterrows():
        sentences.append(
            f"{name}: similarity to the frozen embedding (CKA) {row['cka']:.3f}, largest angle between their leading "
            f"components {row['largest_angle']:.0f}°, accuracy {row['change'] * 100:+.1f} points."
        )
    sentences.append(
        "What this cannot decide: which of these happened in the paper, since neither its cluster assignments nor its "
        "predictions are published; every cause that brings a sound clustering down to its score remains possible."
    )
    return sentences
