"""Runs that differ from an experiment in one parameter, and runs of several ways with fewer labels.

They lie below ``runs/<profile>/ablations/<experiment>/<parameter>=<value>/``, so that they never stand in the table
of results, and are compared with the experiment itself on the same galaxies and seeds.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.classes import GALAXY10
from galutils.evaluation.baselines import accuracy
from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.labels import Crossed, best_way, describe_best, describe_points
from galutils.evaluation.significance import compare
from galutils.study.collect import grade, grade_runs, tabulate
from galutils.study.keys import read_manifest
from galutils.study.runs import Run, RunError, find_runs

#: Parameters along which accuracy is drawn, and where a run says how much of it it had.
CURVES = {
    "train_fraction": lambda run: run.metrics["rows"]["train"],
    "frozen_convs": lambda run: run.metrics["model"]["frozen_convs"],
}

#: Parameters under which building and adapting are compared, and what a run's metrics say of each in words.
CONDITIONS = {
    "train_fraction": lambda run: f"{_train_share(**run.metrics['rows']):.0%} of the training galaxies",
    "augment": lambda run: f"images {'turned and flipped' if run.metrics['settings']['augment'] else 'as they are'}",
}


def collect_ablations(runs_dir: str | Path) -> pd.DataFrame:
    """One row per complete ablation run below ``runs/<profile>``; none is no error.

    The columns of :func:`galutils.study.collect.collect_runs` with ``base`` (the experiment), ``parameter`` and
    ``value`` (text).
    """
    runs = find_runs(runs_dir, "ablations")
    if not runs:
        return pd.DataFrame(columns=["base", "parameter", "value", "run", "approach"])
    table = tabulate(runs)
    names = table["run"].map(lambda run: run.directory.parent.name)
    varied = names.str.split("=", n=1, expand=True).set_axis(["parameter", "value"], axis=1)
    return table.assign(base=table["run"].map(lambda run: run.directory.parents[1].name), **varied)


#: What is said of an ablation with a single seed: how much another initialisation changes is not known.
ONE_SEED = "one seed: no verdict"


def name_ablations(runs: pd.DataFrame, ablations: pd.DataFrame) -> dict[tuple[str, str, str], tuple[str, str]]:
    """For each ablation of an experiment that was run, (base, parameter, value), the experiment's title and its own."""
    titles = dict(zip(runs["experiment"], runs["approach"], strict=True))
    varied = ablations[["base", "parameter", "value"]].drop_duplicates().itertuples(index=False)
    return {
        tuple(own): (titles[own.base], f"{titles[own.base]}: {own.parameter} = {own.value}")
        for own in varied
        if own.base in titles
    }


def grade_ablations(runs: pd.DataFrame, ablations: pd.DataFrame) -> dict[str, dict[int, Graded]]:
    """The predictions of every ablation, by its name of :func:`name_ablations`, and seed."""
    groups = dict(list(ablations.groupby(["base", "parameter", "value"], sort=False)))
    return {title: _graded(groups[own]) for own, (_, title) in name_ablations(runs, ablations).items()}


def compare_with_base(runs: pd.DataFrame, ablations: pd.DataFrame, family: pd.DataFrame) -> pd.DataFrame:
    """Every ablation of :func:`collect_ablations` beside the experiment that it varies, one row each.

    family: from :func:`galutils.evaluation.significance.compare`, with the pairs of :func:`name_ablations`.

    Columns: ``approach`` (title of the experiment), ``base``, ``parameter``, ``value``; ``accuracy``, ``sd``, ``low``,
    ``high`` and ``seeds``; ``base_accuracy`` over the same seeds; ``difference`` to it with ``difference_low`` and
    ``difference_high``, simultaneous with all others of the family, ``verdict`` and ``told``, which a single seed
    cannot give.
    """
    graded, compared = grade_ablations(runs, ablations), family.set_index(["first", "second"])
    rows = []
    for own, (base, title) in name_ablations(runs, ablations).items():
        if (base, title) not in compared.index:
            continue
        found, after = compared.loc[(base, title)], graded[title]
        before = _graded(runs[runs["experiment"] == own[0]])
        shared = [run.correct.mean() for seed, run in before.items() if seed in after]
        alone = {"verdict": ONE_SEED, "told": ONE_SEED} if found["seeds"] == 1 else {}
        rows.append(
            {
                "approach": base,
                **dict(zip(("base", "parameter", "value"), own, strict=True)),
                **_score(after),
                "base_accuracy": sum(shared) / len(shared),
                "difference": found["difference"],
                "difference_low": found["low"],
                "difference_high": found["high"],
                "verdict": found["verdict"],
                "told": found["told"],
                **alone,
                "seeds": found["seeds"],
            }
        )
    return pd.DataFrame(rows)


def _graded(runs: pd.DataFrame) -> dict[int, Graded]:
    """The runs of one approach by seed."""
    (seeds,) = grade_runs(runs).values()
    return seeds


def _score(seeds: dict[int, Graded]) -> dict:
    """``accuracy``, ``sd``, ``low``, ``high`` and number of ``seeds`` of an approach."""
    middle, low, high = accuracy(*seeds.values())
    spread = pd.Series([run.correct.mean() for run in seeds.values()]).std()
    return {"accuracy": middle, "sd": spread, "low": low, "high": high, "seeds": len(seeds)}


def curve(runs: pd.DataFrame, ablations: pd.DataFrame, parameter: str) -> dict[str, pd.DataFrame]:
    """For each approach (title) that a parameter of :data:`CURVES` was varied in, and by ``x``: ``accuracy``, ``low``
    and ``high``. The experiment itself is one of the points.
    """
    curves = {}
    for base, own in ablations[ablations["parameter"] == parameter].groupby("base", sort=False):
        reference = runs[runs["experiment"] == base]
        points = []
        for _, group in pd.concat([reference.assign(value="itself"), own]).groupby("value", sort=False):
            points.append({"x": CURVES[parameter](group["run"].iloc[0]), **_score(_graded(group))})
        if len(reference):
            curves[reference["approach"].iloc[0]] = pd.DataFrame(points).sort_values("x", ignore_index=True)
    return curves


def build_or_adapt(runs: pd.DataFrame, ablations: pd.DataFrame, parameter: str) -> pd.DataFrame:
    """Built against adapted networks, pair by pair, for every value of a parameter of :data:`CONDITIONS`.

    Columns: ``built`` and ``adapted`` (titles), ``condition`` (words), and those of
    :func:`galutils.evaluation.significance.compare` for this pair alone, whose interval is not simultaneous with any
    other; the difference is adapted less built.
    """
    varied = ablations[ablations["parameter"] == parameter]
    itself = runs[runs["experiment"].isin(varied["base"])]
    table = pd.concat([varied, itself.assign(base=itself["experiment"])])
    table["condition"] = table["run"].map(CONDITIONS[parameter])
    titles = itself.drop_duplicates("experiment").set_index("experiment")["approach"]
    rows = []
    for condition, group in table[table["base"].isin(titles.index)].groupby("condition", sort=False):
        built, adapted = group[group["built"]], group[~group["built"] & group["pretrained"]]
        for first, one in built.groupby("base", sort=False):
            for second, other in adapted.groupby("base", sort=False):
                found = compare({"built": _graded(one), "adapted": _graded(other)})
                names = {"built": titles[first], "adapted": titles[second], "condition": condition}
                rows += [names | row for row in found.to_dict("records")]
    return pd.DataFrame(rows)


def _train_share(train: int, unused: int, **_: int) -> float:
    """Share of the galaxies that are there to learn from that a run learnt from."""
    return train / (train + unused)


def read_plan(runs_dir: str | Path) -> dict:
    """What the experiment on numbers of labels below ``runs/<profile>`` is, see :class:`galutils.study.profile.Labels`.

    ``titles`` are those of the arms by name, ``pairs`` the contrasts in titles, ``controls`` the titles of these arms.

    Raises:
        RunError: there is none.
    """
    if not (plan := read_manifest(runs_dir).get("plan")):
        raise RunError(f"{runs_dir}: has no experiment on numbers of labels; make report PROFILE=labels runs one.")
    titles = {name: arm["title"] for name, arm in plan["arms"].items()}
    return plan | {
        "titles": titles,
        "pairs": [tuple(titles[name] for name in pair) for pair in plan["contrasts"]],
        "controls": [arm["title"] for arm in plan["arms"].values() if arm["control"]],
    }


def describe_registered(runs_dir: str | Path) -> str:
    """What was planned when the study of :func:`read_plan` was started, and whether it had begun with another plan."""
    plan, sums = read_plan(runs_dir), [one[:12] for one in read_manifest(runs_dir)["plans"]]
    changed = f" It began with another plan: {', '.join(sums[:-1])}." if sums[:-1] else ""
    return (
        f"Contrasts ({'; '.join(f'{second} against {first}' for first, second in plan['pairs'])}), margin "
        f"({describe_points(plan['margin'])}) and stopping rule ({plan['stopping']}) stood in the profile when the "
        f"study was started; SHA-256 of the plan: {sums[-1]}….{changed}"
    )


def collect_labels(runs_dir: str | Path) -> tuple[Crossed, pd.DataFrame]:
    """The networks of :func:`read_plan`: what they classified correctly, and what they cost.

    The costs are a row for each arm (``approach``) and ``n``, means over draws and seeds: ``train_seconds``,
    ``predict_images_per_second``, ``trained_parameters``; ``device`` and ``data`` in words.

    Raises:
        RunError: some are missing, or were tested on other galaxies.
    """
    plan, named = read_plan(runs_dir), read_manifest(runs_dir)["labels"]
    runs = {run.directory.relative_to(runs_dir).as_posix(): run for run in find_runs(runs_dir, "labels")}
    if missing := len(named) - len(runs):
        raise RunError(f"{runs_dir}: {missing} of {len(named)} networks are not trained yet; make report goes on.")
    first = runs[named[0]]
    tested, correct, costs = first.predictions["row"].to_numpy(), [], []
    for name in named:
        metrics, predictions = runs[name].metrics, runs[name].predictions
        if metrics["data"] != first.metrics["data"] or not np.array_equal(predictions["row"], tested):
            raise RunError(f"{runs[name].directory}: was tested on other galaxies than {first.directory}; delete it.")
        correct.append(predictions["y_true"].to_numpy() == predictions["y_pred"].to_numpy())
        speed = {score: metrics["timing"][score] for score in ("train_seconds", "predict_images_per_second")}
        arm, n = name.split("/")[1], int(name.split("/")[2].partition("_")[0][1:])
        costs.append({"approach": plan["titles"][arm], "n": n, "parameters": metrics["trained_parameters"], **speed})
    shape = (len(plan["arms"]), plan["draws"], len(plan["n"]), plan["seeds"], len(tested))
    crossed = Crossed(
        arms=tuple(plan["titles"].values()),
        n=tuple(plan["n"]),
        correct=np.reshape(correct, shape).swapaxes(1, 2),
        labels=first.predictions["y_true"].to_numpy(),
        group=first.split.group[tested],
    )
    table = pd.DataFrame(costs).groupby(["approach", "n"], sort=False).mean().reset_index()
    return crossed, table.assign(device=first.metrics["environment"]["device"], data=first.metrics["data"]["file"])


def describe_starts(runs_dir: str | Path) -> list[str]:
    """In words: how many of the test galaxies each way of :func:`read_plan` classifies correctly before any label.

    Of those, controls left out, whose weights have a last layer for these classes: ``galutils pretrain`` makes such.
    """
    import torch

    from galutils.data.loader import load_images
    from galutils.models import cnn
    from galutils.training.supervised import predict_probabilities

    plan, named, said = read_plan(runs_dir), read_manifest(runs_dir)["labels"], []
    for arm, title in plan["titles"].items():
        run = Run(Path(runs_dir) / next(name for name in named if name.split("/")[1] == arm))
        recipe, settings = run.metrics["model"], run.metrics["settings"]
        learnt = recipe["name"] == "custom_cnn" and recipe.get("weights", "random") != "random"
        if title in plan["controls"] or not learnt or run.classes != GALAXY10:
            continue
        graded, size = grade(run, run.split.group), settings["image_size"]
        images = load_images(run.galaxies(), graded.row, size, torch.device("cpu"), settings["crop"], once=True)
        probabilities = predict_probabilities(cnn.build(**recipe), images, graded.row)
        own = replace(graded, predicted=probabilities.argmax(1), probabilities=probabilities)
        middle, low, high = accuracy(own)
        said.append(
            f"{title}: before any label {middle:.1%} (95% interval {low:.1%} to {high:.1%}) "
            f"of the {len(graded.row):,} test galaxies are classified correctly."
        )
    return said


def advise(runs_dir: str | Path, numbers: Sequence[int]) -> list[str]:
    """In words: which of the ways of :func:`read_plan` is best with so many labels, how sure that is, what it costs.

    Raises:
        RunError: there is no such experiment, it is not finished, or it does not reach so many or so few labels.
    """
    plan, (crossed, costs) = read_plan(runs_dir), collect_labels(runs_dir)
    least, most, said = crossed.n[0], crossed.n[-1], []
    if not all(least <= n <= most for n in numbers):
        raise RunError(f"{runs_dir}: {least:,} to {most:,} labels were measured; ask for one of these.")
    between = f" (between the numbers measured, which are {', '.join(map(str, crossed.n))})"
    for n in numbers:
        best, others = best_way(crossed, n, plan["controls"])
        own = costs[costs["approach"] == best["approach"]]
        cost = own.loc[(np.log(own["n"]) - np.log(n)).abs().idxmin()]
        said.append(
            f"With {n:,} labels{'' if n in crossed.n else between}: {describe_best(best, others)} Training it took "
            f"{cost['train_seconds']:,.0f} s with {cost['n']:,} labels, and it classifies "
            f"{cost['predict_images_per_second']:,.0f} images a second "
            f"({cost['device']}). Measured on {len(crossed.labels):,} test galaxies of {cost['data']}, with "
            f"{plan['draws']} draws of the labels and {plan['seeds']} seeds each."
        )
    return said
