"""The study as configured: profiles, notebooks and their parameters, checked before anything runs."""

import ast
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
import yaml

from galutils.errors import GalutilsError

_KEYS = {
    "data",
    "simulate",
    "seeds",
    "split_by_seed",
    "threads",
    "common",
    "experiments",
    "ablations",
    "ablation_seeds",
}

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
#: Those among them that read the ablations too.
READ_ABLATIONS = ("12_calibration", "14_ablations")

#: Which notebooks a choice of pretrained weights is for, and the words that it may be instead of a path.
_WEIGHTS = {
    "VGG_WEIGHTS": ({"03_vgg11_deep", "04_vgg11_shallow"}, ("imagenet", "random", "auto")),
    "DINO_WEIGHTS": ({"06_dino_kmeans", "07_dino_lora_kmeans"}, ("dino", "random", "auto")),
}


class StudyError(GalutilsError):
    """A configuration that cannot be run; one sentence that says why and what to do."""


@dataclass(frozen=True)
class Page:
    """One execution of a notebook.

    Attributes:
        notebook: its name in ``notebooks/``, without suffix.
        directory: where the executed notebook and what it writes go.
        parameters: for papermill.
        experiment: name of the approach; None for the notebooks about data and results.
        seed: of the experiment, or None.
    """

    notebook: str
    directory: Path
    parameters: dict
    experiment: str | None = None
    seed: int | None = None

    @property
    def executed(self) -> Path:
        return self.directory / "notebook.ipynb"

    @property
    def slug(self) -> str:
        """Name of its page in the report."""
        if self.experiment is None:
            return self.notebook
        name = re.sub(r"[^A-Za-z0-9_-]", "_", f"{self.notebook.split('_')[0]}_{self.experiment}")
        return f"{name}_seed{self.seed}" if self.seed else name


@dataclass(frozen=True)
class Study:
    """A profile with the user's choices applied. ``root`` is the checkout."""

    root: Path
    profile: str
    config: dict

    @property
    def runs_dir(self) -> Path:
        return self.root / "runs" / self.profile

    @property
    def report_dir(self) -> Path:
        return self.root / "reports" / self.profile

    @property
    def simulated(self) -> bool:
        return self.config["data"] == "simulated"

    @property
    def data_path(self) -> str:
        """What notebooks get as ``data_path``."""
        return str(self.runs_dir / "simulated.h5") if self.simulated else self.config["data"]

    @cached_property
    def experiments(self) -> list[Page]:
        """Every experiment for every seed: its own ``seeds`` where it has some, else the profile's."""
        return [page for name in self.config["experiments"] for page in self._runs(name)]

    @cached_property
    def ablations(self) -> list[Page]:
        """Every value of every parameter that ``ablations`` varies, alone, in an experiment.

        For the experiment's seeds, or ``ablation_seeds`` where the profile has some, which must be among those.
        Their runs lie at ``ablations/<experiment>/<parameter>=<value>/seed<k>``, apart from the results.
        """
        return [
            page
            for name, varied in self.config.get("ablations", {}).items()
            for parameter, values in varied.items()
            for value in values
            for page in self._runs(name, parameter, value)
        ]

    def _runs(self, name: str, parameter: str | None = None, value: object = None) -> list[Page]:
        """An experiment, or its ablation in one parameter, for every seed."""
        own = dict(self.config["experiments"][name])
        notebook, seeds = own.pop("notebook"), own.pop("seeds", self.config["seeds"])
        title, folder = name, self.runs_dir / name
        if parameter is not None:
            own[parameter], title = value, f"{name} {parameter}={value}"
            seeds = self.config.get("ablation_seeds", seeds)
            folder = self.runs_dir / "ablations" / name / f"{parameter}={value}"
        pages = []
        for seed in seeds:
            directory = folder / f"seed{seed}"
            given = {"experiment": title, "run_dir": str(directory), "seed": seed}
            pages.append(Page(notebook, directory, given | self._shared(notebook, seed) | own, title, seed))
        return pages

    def _shared(self, notebook: str, seed: int = 0) -> dict:
        """What all notebooks are given, as far as this one declares it."""
        given = {"data_path": self.data_path, "runs_dir": str(self.runs_dir)}
        given |= {"split_seed": seed if self.config.get("split_by_seed") else 0}
        given |= {"cache_dir": str(self.runs_dir / "embeddings"), **self.config["common"]}
        declared = declared_parameters(self.root / "notebooks" / f"{notebook}.ipynb")
        return {name: value for name, value in given.items() if name in declared}

    @cached_property
    def opening(self) -> Page:
        return Page(OPENING, self.runs_dir / OPENING, self._shared(OPENING))

    @cached_property
    def closing(self) -> list[Page]:
        return [Page(name, self.runs_dir / name, self._shared(name)) for name in CLOSING]

    @property
    def pages(self) -> list[Page]:
        """The pages of the report, in the order in which it tells the story. Ablations have none of their own."""
        experiments = sorted(self.experiments, key=lambda page: (page.notebook, page.seed))
        return [self.opening, *experiments, *self.closing]

    def read_by(self, page: Page) -> list[Page]:
        """The runs that a page is about, which come before it."""
        if page not in self.closing:
            return []
        return self.experiments + (self.ablations if page.notebook in READ_ABLATIONS else [])

    def source(self, page: Page) -> Path:
        """The notebook that a page executes."""
        return self.root / "notebooks" / f"{page.notebook}.ipynb"

    def check_folders(self) -> None:
        """Refuse to start where results could not be written.

        Raises:
            StudyError: it names the folder.
        """
        folders = {page.directory for page in [*self.pages, *self.ablations]} | {self.runs_dir, self.report_dir}
        for folder in sorted({self.root, *folders, *(folder.parent for folder in folders)}):
            if folder.exists() and not os.access(folder, os.W_OK):
                raise StudyError(f"{folder}: cannot be written to; mend its permissions, or work in another checkout.")

    def check_files(self) -> None:
        """Open the files that notebooks will be given, before anything runs; see :func:`check_files`."""
        for page in {(page.notebook, page.parameters.get("weights")): page for page in self.pages}.values():
            given = dict(page.parameters)
            if self.simulated:
                given.pop("data_path", None)  # it is made later
            check_files(self.source(page), given)


def load_study(
    root: str | Path, profile: str, data: str = "", vgg_weights: str = "", dino_weights: str = "", device: str = ""
) -> Study:
    """Read ``config/<profile>.yaml``, apply the user's choices, and check every parameter.

    Args:
        root: the checkout.
        profile: name of the configuration.
        data: path of an HDF5 file to use instead of the profile's data.
        vgg_weights: what the fine-tuned VGGs use as ``weights`` instead.
        dino_weights: what the DINO experiments use as ``weights`` instead.
        device: what all notebooks use as ``device`` instead.

    Raises:
        StudyError: no such profile, an unknown key, or a parameter that a notebook does not declare.
    """
    root = Path(root).resolve()
    path = root / "config" / f"{profile}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
        raise StudyError(f"There is no profile '{profile}'; choose one of {known}.")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: is not valid YAML ({str(error).splitlines()[0]}); mend it.") from error
    if not isinstance(config, dict) or set(config) - _KEYS:
        raise StudyError(f"{path}: has keys {sorted(set(config) - _KEYS)}; the known ones are {sorted(_KEYS)}.")
    for name in config["experiments"]:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", str(name)):
            raise StudyError(f"{path}: '{name}' cannot name an experiment; use letters, digits, _ and - only.")
    _check_ablations(path, config)
    if data:
        if data != "simulated" and not Path(data).expanduser().is_file():
            raise StudyError(f"DATA={data}: there is no such file; give the path of an HDF5 file.")
        config["data"] = data if data == "simulated" else str(Path(data).expanduser().resolve())
    for variable, given in (("VGG_WEIGHTS", vgg_weights), ("DINO_WEIGHTS", dino_weights)):
        if given:
            _choose_weights(config["experiments"], variable, given)
    if device:
        config["common"]["device"] = device
    study = Study(root, profile, config)
    for page in [*study.pages, *study.ablations]:
        check_parameters(study.source(page), page.parameters)
    used = {name for page in study.pages for name in page.parameters}
    if unknown := sorted(set(config["common"]) - used):
        raise StudyError(f"{path}: common has {unknown}, which no notebook of this profile declares; remove them.")
    return study


def _check_ablations(path: Path, config: dict) -> None:
    """Refuse ablations that have no experiment to be compared with, or that cannot name a folder."""
    for name, varied in config.get("ablations", {}).items():
        if name not in config["experiments"]:
            raise StudyError(f"{path}: ablations names '{name}', which is no experiment there; add or rename it.")
        seeds = config["experiments"][name].get("seeds", config["seeds"])
        if missing := sorted(set(config.get("ablation_seeds", seeds)) - set(seeds)):
            raise StudyError(f"{path}: ablation_seeds has {missing}, with which {name} is not run; add or remove them.")
        for parameter, values in varied.items():
            if parameter in ("notebook", "seeds", "seed") or not isinstance(values, list):
                raise StudyError(f"{path}: ablations of {name}: {parameter} must be a parameter and have a list.")
            for value in values:
                if not re.fullmatch(r"[A-Za-z0-9_.-]+", str(value)):
                    raise StudyError(f"{path}: '{value}' cannot name an ablation's folder; use letters, digits, _ . -")


def _choose_weights(experiments: dict[str, dict], variable: str, given: str) -> None:
    """Set ``weights`` of the experiments that a make variable is for, in place."""
    notebooks, words = _WEIGHTS[variable]
    if given not in words:
        path = Path(given).expanduser()
        if not path.is_file():
            raise StudyError(f"{variable}={given}: there is no such file; give a path, {words[0]} or random.")
        given = str(path.resolve())
    for own in experiments.values():
        if own["notebook"] in notebooks:
            own["weights"] = given


def choice_of_weights(notebook: str) -> str | None:
    """The make variable by which a notebook's weights are chosen, if there is one."""
    return next((variable for variable, (notebooks, _) in _WEIGHTS.items() if notebook in notebooks), None)


def declared_parameters(notebook: str | Path) -> set[str]:
    """Names assigned in a notebook's cell tagged ``parameters``.

    Raises:
        StudyError: the notebook does not exist or has no such cell.
    """
    notebook = Path(notebook)
    if not notebook.exists():
        raise StudyError(f"{notebook}: there is no such notebook; the configuration names it.")
    for cell in nbformat.read(notebook, as_version=4).cells:
        if "parameters" in cell.metadata.get("tags", []):
            assignments = [node for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
            return {target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)}
    raise StudyError(f"{notebook}: has no cell tagged 'parameters'; tag one.")


def check_files(notebook: str | Path, parameters: dict) -> None:
    """Open the files that a notebook is given, so that one of no use is told before the notebook starts.

    Args:
        notebook: its path; relative ``data_path`` and ``weights`` start from its folder, as in the notebook.
        parameters: what it is given.

    Raises:
        DataError, WeightsError: they say which file, why, and what to do.
    """
    folder, name = Path(notebook).parent, Path(notebook).stem
    data_path = str(parameters.get("data_path", "simulated"))
    if data_path not in ("simulated", "galaxy10"):
        from galutils.data.galaxies import open_galaxies

        open_galaxies(folder / Path(data_path).expanduser())
    for notebooks, words in _WEIGHTS.values():
        if name in notebooks and (weights := str(parameters.get("weights", "auto"))) not in words:
            from galutils.models.weights import check_weights

            check_weights(folder / Path(weights).expanduser(), parameters.get("arch", "auto"), words[0])


def check_parameters(notebook: str | Path, parameters: dict) -> None:
    """Refuse a parameter that the notebook does not declare; papermill alone would only warn.

    Raises:
        StudyError: it names the parameter, the notebook and what the notebook does declare.
    """
    declared = declared_parameters(notebook)
    for name in parameters:
        if name not in declared:
            raise StudyError(
                f"{Path(notebook).name} has no parameter '{name}'; it declares {', '.join(sorted(declared))}."
            )
