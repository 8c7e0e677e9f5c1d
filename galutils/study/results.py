"""The statistics of a profile's runs, computed once and kept beside them in ``results.json``.

The file is read again as long as it belongs to the very same runs and to this code.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from pathlib import Path

import pandas as pd

from galutils.data.galaxies import DataError
from galutils.evaluation.baselines import FIVE, baselines_once
from galutils.evaluation.bootstrap import SCORES, Graded, estimate, join, wilson
from galutils.evaluation.calibration import (
    calibration_error,
    calibration_table,
    fit_temperature,
    scale,
    squared_errors,
)
from galutils.evaluation.conclusion import claims
from galutils.evaluation.significance import ALPHA, MARGIN, compare
from galutils.files import code_digest, write_json
from galutils.study.ablations import (
    CONDITIONS,
    CURVES,
    build_or_adapt,
    collect_ablations,
    compare_with_base,
    curve,
    grade_ablations,
    name_ablations,
)
from galutils.study.collect import collect_runs, grade_runs
from galutils.study.keys import RESULTS, digest_runs, read_manifest

#: Columns that all runs of an approach share.
_KIND = (
    "experiment", "approach", "built", "from_simulations", "supervised", "pretrained", "may_know", "stand_in",
    "wholly_collapsed",
)  # fmt: skip
#: Columns of the table of runs that are averaged over seeds.
_AVERAGED = (
    "n_test", "folds", "num_classes", "parameters", "trained_parameters", "multiply_adds", "train_seconds",
    "train_images_per_second", "predict_images_per_second", "paper_accuracy", "paper_roc_auc",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """What follows from the runs of a profile.

    Attributes:
        runs: from :func:`galutils.study.collect.collect_runs`.
        ablations: from :func:`galutils.study.ablations.collect_ablations`.
        estimates: for each approach (title) all its scores with intervals, see
            :func:`galutils.evaluation.bootstrap.estimate`.
        comparisons: the study's pairs of approaches that learn from labels, by default all, in one family with each
            ablation and what it varies, see :func:`galutils.evaluation.significance.compare`.
        clusterings: all pairs of clusterings, which are scored on other galaxies, in a family of their own.
        baselines: the same of what needs no network, see :func:`galutils.evaluation.baselines.baselines`, on the test
            galaxies of the approaches that learn from labels; empty where the file of galaxies is not at hand.
        against: of the family each of these approaches against the baseline of five measured numbers.
        calibration: how far the probabilities of each approach that learns from labels can be believed, see
            :func:`galutils.evaluation.calibration.calibration_table`.
        temperatures: from :func:`temperature_table`.
        changes: what each ablation changes, from :func:`galutils.study.ablations.compare_with_base`.
        curves: for each of :data:`galutils.study.ablations.CURVES` the curve of each approach.
        conditions: for each of :data:`galutils.study.ablations.CONDITIONS` built against adapted networks.
    """

    runs: pd.DataFrame
    ablations: pd.DataFrame
    estimates: dict[str, pd.DataFrame]
    comparisons: pd.DataFrame
    clusterings: pd.DataFrame
    baselines: dict[str, pd.DataFrame]
    against: pd.DataFrame
    calibration: pd.DataFrame
    temperatures: pd.DataFrame
    changes: pd.DataFrame
    curves: dict[str, dict[str, pd.DataFrame]]
    conditions: dict[str, pd.DataFrame]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per approach: means over its seeds, and how sure they are.

        Besides the columns of :attr:`runs`: ``balanced_accuracy``, ``top2_accuracy``; ``seeds`` (how many); of the
        accuracy ``sd`` between seeds, ``standard_error``, and ``low`` and ``high``, the 95% interval over seeds and
        galaxies, see :mod:`galutils.evaluation.bootstrap`. ``picked_low`` and ``picked_high`` hold for all approaches
        that learn from labels at once, and so for the best of them, too. ``largest`` is the share of the largest class
        among the galaxies that were scored; ``chance`` is the same or, of a clustering, what permuted labels get.
        """
        grouped = self.runs.groupby([*_KIND], sort=False)
        table = grouped[[*_AVERAGED]].mean().assign(seeds=grouped.size()).reset_index()
        for score in SCORES:
            table[score] = [self.estimates[title].loc[score, "mean"] for title in table["approach"]]
        for column in ("sd", "standard_error", "low", "high"):
            table[column] = [self.estimates[title].loc["accuracy", column] for title in table["approach"]]
        own = pd.DataFrame([self.estimates[title].loc["accuracy"] for title in table["approach"]])
        level = 1 - ALPHA / max(1, table["supervised"].sum())
        ends = wilson(own["mean"], own["standard_error"], own["dof"], table["n_test"].to_numpy(), level)
        table["picked_low"], table["picked_high"] = ends
        first = self.runs.drop_duplicates("approach")["run"]
        table["largest"] = [run.predictions["y_true"].value_counts(normalize=True).max() for run in first]
        permuted = [run.metrics.get("chance", {}).get("mean") for run in first]
        table["chance"] = pd.Series(permuted, dtype=float).fillna(table["largest"])
        return table

    @cached_property
    def claims(self) -> pd.DataFrame:
        """What these runs say of the paper's claims, see :func:`galutils.evaluation.conclusion.claims`."""
        return claims(self.table, pd.concat([self.comparisons, self.clusterings]), self.changes)

    @cached_property
    def shown(self) -> pd.DataFrame:
        """:attr:`table` with a row for each baseline, of which it is known how well it does and nothing else."""
        rows = [
            {
                "approach": f"Baseline: {title}",
                **own.loc[[*SCORES], "mean"],
                **own.loc["accuracy", ["standard_error", "low", "high"]],
            }
            for title, own in self.baselines.items()
        ]
        own = pd.DataFrame(rows).assign(chance=self.table.loc[self.table["supervised"], "chance"].max())
        return pd.concat([self.table, own], ignore_index=True)


def load_results(runs_dir: str | Path) -> Results:
    """The results of the runs below ``runs/<profile>``, from ``results.json`` where it is theirs, else computed.

    Raises:
        RunError: there is no complete run.
    """
    runs, ablations = collect_runs(runs_dir), collect_ablations(runs_dir)
    path = Path(runs_dir) / RESULTS
    plan = read_manifest(runs_dir)
    key = f"{digest_runs(runs_dir)} {plan.get('contrasts')} {plan.get('margin')} {code_digest('evaluation', 'study')}"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # not there, or damaged
        kept = {}
    if kept.get("key") == key:
        return Results(runs, ablations, **_unpacked(kept["results"]))
    graded, supervised = grade_runs(runs), grade_runs(runs[runs["supervised"]])
    titles = dict(zip(runs["experiment"], runs["approach"], strict=True))
    named = plan.get("contrasts") or list(combinations(dict.fromkeys(runs[runs["supervised"]]["experiment"]), 2))
    pairs = [(titles[first], titles[second]) for first, second in named if {first, second} <= titles.keys()]
    baselines = grade_baselines(runs[runs["supervised"]])
    # A forest has no seeds: whichever an approach has, its answer is the same.
    forest = {FIVE: dict.fromkeys(runs["seed"], baselines[FIVE])} if baselines else {}
    contrasts = [*pairs, *product(forest, supervised), *name_ablations(runs, ablations).values()]
    family = compare(supervised | forest | grade_ablations(runs, ablations), contrasts, plan.get("margin", MARGIN))
    computed = {
        "estimates": {title: estimate(list(seeds.values())) for title, seeds in graded.items()},
        "comparisons": family[family[["first", "second"]].isin([*supervised]).all(axis=1)].reset_index(drop=True),
        "clusterings": compare(grade_runs(runs[~runs["supervised"]])),
        "baselines": {title: estimate([own]) for title, own in baselines.items()},
        "against": family[family["first"] == FIVE].reset_index(drop=True),
        "calibration": calibration_table(supervised),
        "temperatures": temperature_table(ablations.assign(approach=ablations["base"].replace(titles))),
        "changes": compare_with_base(runs, ablations, family),
        "curves": {name: curve(runs, ablations, name) for name in CURVES},
        "conditions": {name: build_or_adapt(runs, ablations, name) for name in CONDITIONS},
    }
    write_json(path, {"key": key, "results": _packed(computed)})
    return Results(runs, ablations, **computed)


def grade_baselines(runs: pd.DataFrame) -> dict[str, Graded]:
    """The baselines on the test galaxies of all folds of the first run; none without runs, or without their galaxies.

    runs: those of :func:`galutils.study.collect.collect_runs` that learnt from labels.
    """
    if runs.empty:
        return {}
    try:
        galaxies = runs["run"].iloc[0].galaxies()
    except DataError:  # runs that were copied without them still have results
        return {}
    found = [baselines_once(galaxies, fold.split) for fold in runs["run"].iloc[0].folds]
    return {title: join([own[title] for own in found]) for title in found[0]}


def temperature_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What a temperature fitted on the rows set aside does to the test rows.

    Args:
        runs: from :func:`galutils.study.ablations.collect_ablations`; those that set no rows aside, or have collapsed,
            are left out.

    Returns:
        one row per run: ``approach``, ``seed``, ``set_aside`` (galaxies), ``temperature``, and ``ece``, ``brier`` with
        ``ece_scaled``, ``brier_scaled`` on the test rows.
    """
    rows = []
    for entry in runs.itertuples():
        if (aside := entry.run.calibration) is None or entry.collapsed:
            continue
        temperature = fit_temperature(aside["y_true"].to_numpy(), aside[entry.run.columns].to_numpy())
        labels = entry.run.predictions["y_true"].to_numpy()
        plain = entry.run.predictions[entry.run.columns].to_numpy()
        found = {"approach": entry.approach, "seed": entry.seed, "set_aside": len(aside), "temperature": temperature}
        for suffix, probabilities in (("", plain), ("_scaled", scale(plain, temperature))):
            found[f"ece{suffix}"] = calibration_error(labels, probabilities)
            found[f"brier{suffix}"] = squared_errors(labels, probabilities).mean()
        rows.append(found)
    return pd.DataFrame(rows)


def _packed(value: dict | pd.DataFrame) -> dict:
    """Tables, and dictionaries of them, for JSON, which has no NaN; numbers keep their every digit."""
    if isinstance(value, dict):
        return {name: _packed(entry) for name, entry in value.items()}
    plain = value.astype(object).where(value.notna(), None)
    types = {name: str(kind) for name, kind in value.dtypes.items()}
    return {"types": types, "index": value.index.tolist(), "rows": plain.to_numpy().tolist()}


def _unpacked(value: dict) -> dict | pd.DataFrame:
    """What :func:`_packed` was given."""
    if "types" not in value:
        return {name: _unpacked(entry) for name, entry in value.items()}
    table = pd.DataFrame(value["rows"], index=value["index"], columns=list(value["types"]))
    return table.astype(value["types"])
