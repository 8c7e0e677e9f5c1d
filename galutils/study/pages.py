"""A study: a profile with the user's choices, as notebooks to execute and pages to render."""

import math
import os
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import psutil
from filelock import BaseFileLock, FileLock, Timeout

from galutils.evaluation.paper import APPROACHES, starting_weights
from galutils.files import write_json, write_text
from galutils.study.keys import MANIFEST, RESULTS, describe_changes, notebook_key, read_key, register, weights_at_hand
from galutils.study.profile import (
    Experiment,
    Profile,
    StudyError,
    check_files,
    check_parameters,
    check_text,
    declared_parameters,
    find_file,
    read_profile,
)

#: Notebooks that tell of all runs together; they run before and after the experiments.
OPENING = "01_data_exploration"
CLOSING = (
    "08_attention_maps",
    "09_confusion_matrices",
    "10_results",
    "11_why_chance",
    "12_calibration",
    "13_label_noise",
    "14_ablations",
    "15_speed",
)
#: Those on other surveys, on numbers of labels, and on simulated galaxies, where the profile asks for them.
OTHERS, LABELS, LESSONS = "16_other_surveys", "17_how_many_labels", "18_simulated_galaxies"
#: That one among them that is about runs without labels.
ABOUT_CLUSTERS = "11_why_chance"
#: Those among them that read the statistics, which come from all runs, ablations too.
READ_RESULTS = ("10_results", "12_calibration", "14_ablations")

#: The make variable that chooses pretrained weights of each kind.
WEIGHTS = {"imagenet": "VGG_WEIGHTS", "dino": "DINO_WEIGHTS"}


@dataclass(frozen=True)
class Page:
    """One execution of a notebook.

    ``experiment``, ``seed`` and ``fold`` are those of a run, None for the notebooks about data and results.
    """

    notebook: str  # its name in notebooks/, without suffix
    directory: Path  # where the executed notebook and what it writes go
    parameters: dict  # for papermill
    experiment: str | None = None
    seed: int | None = None
    fold: int | None = None

    @property
    def executed(self) -> Path:
        return self.directory / "notebook.ipynb"

    @property
    def done(self) -> Path:
        """What Snakemake takes for the output: it deletes outputs before a rule runs, and finished runs shall stay."""
        return self.directory / "done"

    @property
    def slug(self) -> str:
        """Name of its page in the report, or of its rule where it has none."""
        if self.experiment is None:
            return self.notebook
        name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.notebook.split('_')[0]}_{self.experiment}")
        return name + f"_seed{self.seed}" * bool(self.seed) + f"_fold{self.fold}" * bool(self.fold)


@dataclass(frozen=True)
class Study:
    """A profile with the user's choices applied.

    ``root`` is the checkout; ``left_out`` are experiments that are not run for want of pretrained weights.
    """

    root: Path
    profile: str
    config: Profile
    left_out: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What a reader should know who looks for a row in vain."""
        titles = "; ".join(APPROACHES[name].title if name in APPROACHES else name for name in self.left_out)
        told = f"Not run here, as there are no pretrained weights: {titles}. galutils fetch weights brings them."
        return [told] * bool(titles)

    @property
    def runs_dir(self) -> Path:
        return self.root / "runs" / self.profile

    @property
    def results_file(self) -> Path:
        return self.runs_dir / RESULTS

    @property
    def report_dir(self) -> Path:
        return self.root / "reports" / self.profile

    @property
    def simulated(self) -> bool:
        return self.config.data == "simulated"

    @property
    def data_path(self) -> str:
        """What notebooks get as ``data_path``."""
        return str(self.runs_dir / "simulated.h5") if self.simulated else self.config.data

    @cached_property
    def experiments(self) -> list[Page]:
        """Every experiment for every seed and every fold of its split."""
        return [page for name in self.config.experiments for page in self.run_pages(name)]

    @cached_property
    def ablations(self) -> list[Page]:
        """Every value of every parameter that ``ablations`` varies, alone, in an experiment.

        Their runs lie at ``ablations/<experiment>/<parameter>=<value>/seed<k>``, apart from the results.
        """
        return [
            page
            for name, varied in self.config.ablations.items()
            for parameter, values in varied.items()
            for value in values
            for page in self.run_pages(name, {parameter: value})
        ]

    @cached_property
    def labels(self) -> list[Page]:
        """Every arm of ``labels`` with every draw, number of labels and seed, as many updates each, to whole epochs.

        Their runs lie at ``labels/<arm>/n<n>_draw<d>/seed<k>``. What an arm says itself counts.
        """
        plan, pages = self.config.labels, []
        runs = product(plan.arms.items(), range(plan.draws), plan.n, range(plan.seeds)) if plan else ()
        for (name, arm), draw, n, seed in runs:
            directory, batch = self.runs_dir / "labels" / name / f"n{n}_draw{draw}" / f"seed{seed}", min(64, n // 4)
            given = {"experiment": f"{name} n={n} draw={draw}", "run_dir": str(directory), "seed": seed}
            given |= {"train_labels": n, "draw": draw, "balanced": plan.proportions == "balanced", "batch_size": batch}
            given |= {"epochs": max(1, round(plan.updates / math.ceil(n / batch)))} | arm.model_extra
            pages.append(Page(arm.notebook, directory, self._shared(arm.notebook) | given, given["experiment"], seed))
        return pages

    def run_pages(self, name: str, changed: dict | None = None) -> list[Page]:
        """An experiment, or its ablation in one parameter, for every seed and fold."""
        notebook = self.config.experiments[name].notebook
        own, seeds, folder = self.config.experiments[name].model_extra, self.config.seeds_of(name), self.runs_dir / name
        if changed:
            ((parameter, value),) = changed.items()
            folder = self.runs_dir / "ablations" / name / f"{parameter}={value}"
            name, own, seeds = f"{name} {parameter}={value}", own | changed, self.config.ablation_seeds or seeds
        shared, pages = self._shared(notebook), []
        for seed, fold in product(seeds, range(self.config.splits if "fold" in shared else 1)):
            directory = folder / (f"seed{seed}" + f"_fold{fold}" * bool(fold))
            given = {"experiment": name, "run_dir": str(directory), "seed": seed}
            given = shared | given | ({"fold": fold} if "fold" in shared else {}) | own
            pages.append(Page(notebook, directory, given, name, seed, fold))
        return pages

    def _shared(self, notebook: str) -> dict:
        """What all notebooks are given, as far as this one declares it."""
        folds = {"fold": 0, "test_size": 1 / self.config.splits} if self.config.splits > 1 else {}
        given = folds | {
            "data_path": self.data_path,
            "runs_dir": str(self.runs_dir),
            "cache_dir": str(self.runs_dir / "embeddings"),
            "other_data": self.config.other_data,
            "lessons_dir": str(self.runs_dir / "lessons"),
            **(self.config.lessons.model_dump() if notebook == LESSONS else {}),
            "split_by": self.config.split_by,
            **self.config.common,
        }
        return {name: given[name] for name in declared_parameters(self.source(notebook)) if name in given}

    @cached_property
    def pages(self) -> list[Page]:
        """The pages of the report, in the order in which it tells the story; :attr:`unshown` have none of their own."""
        first = [self.run_pages(name)[0] for name in self.config.experiments]
        experiments = sorted(first, key=lambda page: page.notebook)
        asked = (OTHERS, self.config.other_data), (LABELS, self.config.labels), (LESSONS, self.config.lessons)
        told = [OPENING, *CLOSING, *(name for name, wanted in asked if wanted)]
        if not any("dino" in page.notebook for page in experiments):
            told.remove(ABOUT_CLUSTERS)
        opening, *closing = [Page(name, self.runs_dir / name, self._shared(name)) for name in told]
        return [opening, *experiments, *closing]

    @property
    def unshown(self) -> list[Page]:
        """What is executed without a page of its own: further seeds and folds, ablations, and runs of arms."""
        return [*(page for page in self.experiments if page not in self.pages), *self.ablations, *self.labels]

    def inputs(self, page: Page) -> list[Path]:
        """Files that a page is made of: its notebook, and the galaxies, runs, statistics or timings that it reads."""
        read = [Path(self.data_path)] if os.path.sep in self.data_path else []
        if page.notebook == "15_speed":
            read = [*sorted((self.root / "benchmarks").glob("measured-*.json")), self.root / "benchmarks/timings.py"]
        elif page.notebook == LABELS:
            read = [own.done for own in self.labels]
        elif page.notebook in READ_RESULTS:
            read = [self.results_file]
        elif page.notebook in (*CLOSING, OTHERS):
            read = [own.done for own in self.experiments] + [Path(path) for path in self.config.other_data]
        return [self.source(page.notebook), *read]

    def source(self, notebook: str) -> Path:
        """Where a notebook lies."""
        return self.root / "notebooks" / f"{notebook}.ipynb"

    def check_parameters(self) -> None:
        """Refuse a parameter that its notebook does not take.

        Raises:
            StudyError: it names the parameter.
        """
        for page in [*self.pages, *self.unshown]:
            check_parameters(self.source(page.notebook), page.parameters)
        used = {name for page in self.pages for name in page.parameters}
        if unknown := sorted(set(self.config.common) - used):
            file = self.root / "config" / f"{self.profile}.yaml"
            raise StudyError(f"{file}: common has {unknown}, which no notebook of this profile declares; remove them.")

    def _reopen(self) -> list[str]:
        """Let Snakemake, which sees only files, run again what is not finished; a line for each run that was, why."""
        if self.simulated and not Path(self.data_path).exists():
            return []  # the galaxies are made first; then each notebook looks for itself
        lines, threads = [], str(self.config.threads)
        for page in [*self.pages, *self.unshown]:
            kept = read_key(page.executed, page.parameters.get("run_dir"))
            key = notebook_key(self.source(page.notebook), page.parameters, threads) if kept else {}
            if kept != key:
                page.done.unlink(missing_ok=True)
                if kept and page.experiment:
                    which = f"seed {page.seed}" + f", fold {page.fold}" * bool(page.fold)
                    lines.append(f"{page.experiment}, {which}: {describe_changes(kept, key)}")
        return lines

    def start(self) -> BaseFileLock:
        """Take the profile for this process, note which runs are the study's, and say which will be run again.

        The system frees the lock however the process ends; Snakemake's own would stay behind a killed one.

        Raises:
            StudyError: another process has it, or the file system has no locks.
        """
        self.runs_dir.mkdir(parents=True, exist_ok=True)
        path, owner = self.runs_dir / ".lock", self.runs_dir / ".lock.process"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            number = owner.read_text() if owner.exists() else ""
            by, advice = f"by process {number}", f"wait for it, or stop it (kill {number})"
            if number.isdigit() and psutil.pid_exists(int(number)):
                raise StudyError(f"profile {self.profile} is being run in this checkout {by}; {advice}.") from None
            here = f"{path}: is held, but not by a process of this machine"
            raise StudyError(f"{here}; delete it if none runs.") from None
        except OSError as error:
            advice = "put the checkout on another disk"
            raise StudyError(f"{path}: cannot be locked ({error.strerror}); {advice}.") from error
        write_text(owner, str(os.getpid()))
        manifest = {"data": self.data_path, "contrasts": self.config.contrasts, "margin": self.config.margin}
        if plan := self.config.labels:
            manifest |= {"plan": plan.model_dump(), "plans": register(plan.model_dump(), self.runs_dir)}
        for kind, pages in {"runs": self.experiments, "ablations": self.ablations, "labels": self.labels}.items():
            manifest[kind] = [str(page.directory.relative_to(self.runs_dir)) for page in pages]
        write_json(self.runs_dir / MANIFEST, manifest)
        for line in self._reopen():
            print(f"make report: will be run again: {line}", file=sys.stderr)
        return lock

    def check_folders(self) -> None:
        """Refuse to start where results could not be written.

        Raises:
            StudyError: it names the folder.
        """
        folders = {page.directory for page in [*self.pages, *self.unshown]} | {self.runs_dir, self.report_dir}
        for folder in sorted({self.root, *folders, *(folder.parent for folder in folders)}):
            if folder.exists() and not os.access(folder, os.W_OK):
                raise StudyError(f"{folder}: cannot be written to; mend its permissions, or work in another checkout.")

    def check_files(self) -> None:
        """Open the files that notebooks will be given, before anything runs; see :func:`check_files`."""
        for page in {(p.notebook, p.parameters.get("weights")): p for p in [*self.pages, *self.labels]}.values():
            made_later = {"data_path": "simulated"} if self.simulated else {}
            check_files(self.source(page.notebook), page.parameters | made_later)


def load_study(
    root: str | Path, profile: str, data: str = "", vgg_weights: str = "", dino_weights: str = "", device: str = ""
) -> Study:
    """Read ``config/<profile>.yaml`` of a checkout, apply the user's choices, and check every parameter.

    Raises:
        StudyError: there is no such profile or file, or something in the profile is wrong.
    """
    root = Path(root).resolve()
    given = {"DATA": data, "VGG_WEIGHTS": vgg_weights, "DINO_WEIGHTS": dino_weights, "DEVICE": device}
    for name, text in {"The checkout's path": root, **given}.items():
        check_text(name, text)
    path = root / "config" / f"{profile}.yaml"
    if not path.exists():
        if not (known := ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))):
            raise StudyError(f"{root}: is no checkout of this study, as it has no config/*.yaml; name one by --root.")
        raise StudyError(f"There is no profile '{profile}'; choose one of {known}.")
    config = read_profile(path)
    if data:
        config.data = find_file(data, "simulated", advice="give the path of an HDF5 file")
    if config.data == "simulated" and config.simulate is None:
        raise StudyError(f"{path}: does not say how many galaxies to simulate; add simulate, or choose quick or smoke.")
    for kind, given in (("imagenet", vgg_weights), ("dino", dino_weights)):
        if given:
            given = find_file(given, kind, "random", "auto", advice=f"give a path, {kind} or random")
            for experiment in [*config.experiments.values(), *(config.labels.arms if config.labels else {}).values()]:
                on_purpose = experiment.model_extra.get("weights") == "random"
                takes = kind in (starting_weights(experiment.notebook), experiment.model_extra.get("weights"))
                if takes and not on_purpose:
                    experiment.model_extra["weights"] = given
    for place, other in enumerate(config.other_data):
        config.other_data[place] = find_file(str(root / Path(other).expanduser()), advice="mend its path")
    if device:
        config.common["device"] = device
    left_out = [name for name, own in config.experiments.items() if config.only_with_weights and _lacks_weights(own)]
    config.leave_out(left_out)
    study = Study(root, profile, config, tuple(left_out))
    study.check_parameters()
    return study


def _lacks_weights(experiment: Experiment) -> bool:
    """Whether an experiment starts from official weights that are not here."""
    given, kind = experiment.model_extra, starting_weights(experiment.notebook)
    named = given.get("weights") in ("auto", kind, "dino")
    return bool(kind) and named and not weights_at_hand(kind, given.get("arch", "auto"))
