"""What a file in ``config/`` may say, and what notebooks may be given; checked before anything runs."""

import ast
import ctypes
import json
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from galutils.data.simulate.recipes import PARTS
from galutils.data.splits import WHOLE
from galutils.errors import GalutilsError
from galutils.evaluation.paper import starting_weights
from galutils.evaluation.significance import MARGIN
from galutils.files import not_a_file

DEVICES = ("auto", "cpu", "cuda")

#: Kinds of parameters in words.
_KINDS = {bool: "true or false", int: "a whole number", float: "a number such as 1.0e-3", str: "a text", list: "a list"}


class StudyError(GalutilsError):
    """A configuration that cannot be run; one sentence that says why and what to do."""


def _name(text: str) -> str:
    """Refuse what could not name a folder and a page."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(f"'{text}' cannot name an experiment; use letters, digits, _ and - only")
    if re.search(r"_(seed|fold)\d+$", text):
        raise ValueError(f"'{text}' cannot name an experiment, as pages of seeds and folds end so")
    return text


Name = Annotated[str, AfterValidator(_name)]
Scalar = bool | int | float | str
Seeds = Annotated[list[int], Field(min_length=1)]


class Simulate(BaseModel):
    """How many galaxies are simulated, how large, and in what proportions; see ``galutils simulate``."""

    model_config = ConfigDict(strict=True, extra="forbid")
    count: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=8)]
    seed: int = 0
    crop: Annotated[float, Field(ge=0.1, le=1)] = 1.0
    proportions: Literal["balanced", "galaxy10"] = "balanced"


class Experiment(BaseModel):
    """A row: its notebook, its seeds where they are not the profile's, and parameters of the notebook."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar]
    notebook: str
    seeds: Seeds | None = None


class Arm(BaseModel):
    """A way to a classifier: its notebook and parameters; a ``control`` is compared with, and is nobody's choice."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar]
    title: str
    notebook: str
    control: bool = False


class Labels(BaseModel):
    """The experiment on numbers of labels: every arm with every ``n``, draw and seed, all with as many ``updates``.

    What is compared, the margin and when to stop are said before it runs. ``proportions``: of the classes in a draw.
    """

    model_config = ConfigDict(strict=True, extra="forbid")
    n: Annotated[list[Annotated[int, Field(ge=8)]], Field(min_length=1)]
    draws: Annotated[int, Field(ge=2)]
    seeds: Annotated[int, Field(ge=2)]
    updates: Annotated[int, Field(ge=1)]
    proportions: Literal["file", "balanced"] = "file"
    arms: Annotated[dict[Name, Arm], Field(min_length=2)]
    contrasts: Annotated[list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0, lt=1)] = MARGIN
    stopping: str

    @model_validator(mode="after")
    def _fits(self) -> "Labels":
        if sorted(set(self.n)) != self.n:
            raise ValueError(f"n is {self.n}; it must grow")
        if unknown := {name for pair in self.contrasts for name in pair} - self.arms.keys():
            raise ValueError(f"contrasts names {sorted(unknown)}, which are no arms")
        arms = self.arms.values()
        if sum(not arm.control for arm in arms) < 2 or len({arm.title for arm in arms}) < len(arms):
            raise ValueError("arms are to be two or more that are no controls, each with a title of its own")
        return self


class Lessons(BaseModel):
    """What the custom network learns from simulated galaxies alone; see notebook 18."""

    model_config = ConfigDict(strict=True, extra="forbid")
    counts: Annotated[list[Annotated[int, Field(ge=20)]], Field(min_length=1)]
    controls: list[Literal["labels", *PARTS]] = []
    control_count: int = 0
    channels: list[Annotated[int, Field(ge=1)]] = []
    updates: Annotated[int, Field(ge=1)]
    lesson_seeds: Seeds = [100]
    version: Literal["A", "U"] = "U"
    processes: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _fits(self) -> "Lessons":
        if sorted(set(self.counts)) != self.counts:
            raise ValueError(f"counts is {self.counts}; it must grow")
        if self.controls and self.control_count not in self.counts:
            raise ValueError(f"control_count is {self.control_count}, which is none of counts")
        return self


class Profile(BaseModel):
    """A file in ``config/``; ``only_with_weights``: rows whose pretrained weights are not at hand are left out."""

    model_config = ConfigDict(strict=True, extra="forbid")
    data: str
    simulate: Simulate | None = None
    seeds: Seeds
    splits: Annotated[int, Field(ge=1)] = 1
    split_by: Literal[WHOLE] = WHOLE[0]
    threads: Annotated[int, Field(ge=1)]
    common: dict[str, Scalar] = {}
    experiments: Annotated[dict[Name, Experiment], Field(min_length=1)]
    ablations: dict[str, dict[str, Annotated[list[Scalar], Field(min_length=1)]]] = {}
    ablation_seeds: Seeds | None = None
    other_data: list[str] = []
    contrasts: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = []
    labels: Labels | None = None
    lessons: Lessons | None = None
    only_with_weights: bool = False
    margin: Annotated[float, Field(gt=0, lt=1)] = MARGIN

    def seeds_of(self, name: str) -> list[int]:
        """Those of an experiment."""
        return self.experiments[name].seeds or self.seeds

    def leave_out(self, names: Collection[str]) -> None:
        """Take experiments away, with what is said of them."""
        self.experiments = {name: own for name, own in self.experiments.items() if name not in names}
        self.ablations = {name: varied for name, varied in self.ablations.items() if name not in names}
        self.contrasts = [pair for pair in self.contrasts if not set(names) & set(pair)]


def read_profile(path: Path) -> Profile:
    """The profile in a file, checked in itself.

    Raises:
        StudyError: it is no YAML, or says what a profile cannot say.
    """
    try:
        config = Profile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise StudyError(f"{path}: is not valid YAML ({str(error).splitlines()[0]}); mend it.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("[key]", "bool", "int", "float", "str"))
        reason = first["msg"].removeprefix("Value error, ")
        own = {"simulate": Simulate, "labels": Labels, "lessons": Lessons}.get(str(first["loc"][0]), Profile)
        known = ", ".join(own.model_fields) if first["type"] == "extra_forbidden" else ""
        advice = f"it may have {known}" if known else "mend it"
        raise StudyError(f"{path}: {place or 'the file'}: {reason}; {advice}.") from None
    if unknown := {name for pair in config.contrasts for name in pair} - config.experiments.keys():
        raise StudyError(
            f"{path}: contrasts names {sorted(unknown)}, which are no experiments there; add or rename them."
        )
    for name, varied in config.ablations.items():
        if name not in config.experiments:
            raise StudyError(f"{path}: ablations names '{name}', which is no experiment there; add or rename it.")
        seeds = config.seeds_of(name)
        if missing := sorted(set(config.ablation_seeds or seeds) - set(seeds)):
            raise StudyError(f"{path}: ablation_seeds has {missing}, with which {name} is not run; add or remove them.")
        for value in (value for values in varied.values() for value in values):
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", str(value)):
                raise StudyError(
                    f"{path}: '{value}' cannot name an ablation's folder; use letters, digits, _, - and full stops."
                )
    return config


@cache
def declared_parameters(notebook: str | Path) -> dict[str, Any]:
    """Names and defaults of a notebook's parameters, from its cell tagged ``parameters``.

    Raises:
        StudyError: the notebook does not exist or has no such cell.
    """
    if not Path(notebook).is_file():
        raise StudyError(f"{notebook}: {not_a_file(notebook)}; name one of notebooks/.")
    if Path(notebook).suffix != ".ipynb":
        raise StudyError(f"{notebook}: is not a notebook, by its name; name one of notebooks/.")
    # Read here, as papermill, which could, takes longer to import than a finished notebook to be found so.
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StudyError(f"{notebook}: is a damaged notebook; get it again.") from None
    if not tagged:
        raise StudyError(f"{notebook}: has no cell tagged 'parameters'; tag one.")
    try:
        assigned = [line for line in ast.parse(tagged[0]).body if isinstance(line, ast.Assign)]
        return {line.targets[0].id: ast.literal_eval(line.value) for line in assigned}
    except (SyntaxError, ValueError, AttributeError):
        raise StudyError(f"{notebook}: has parameters that are no plain values; give each a number or text.") from None


def check_parameters(notebook: str | Path, parameters: dict) -> None:
    """Refuse a parameter that the notebook does not declare, for which papermill alone would only warn, or that is of
    another kind than its default: YAML reads ``1e-3`` as text, and 1.0e-3 as a number.

    Raises:
        StudyError: it names the parameter and the notebook, and what is wrong.
    """
    declared = declared_parameters(notebook)
    for name, value in parameters.items():
        if name not in declared:
            raise StudyError(
                f"{Path(notebook).name} has no parameter '{name}'; it declares {', '.join(sorted(declared))}."
            )
        kind = type(declared[name])
        # A text may be a number (frozen_convs: three-blocks, or 4), a number with a point may have none.
        fitting = {bool: (bool,), int: (int,), float: (int, float), str: (str, int), list: (list,)}[kind]
        if not isinstance(value, fitting) or (isinstance(value, bool) and kind is not bool):
            raise StudyError(f"{Path(notebook).name}: {name} is {value!r}; give {_KINDS[kind]}.")
        if name == "device" and value not in DEVICES:
            raise StudyError(f"{Path(notebook).name}: device is {value!r}; choose {', '.join(DEVICES)}.")
        if name == "device" and value == "cuda" and not find_gpus():
            raise StudyError(f"{Path(notebook).name}: device is 'cuda', but no GPU is found here; choose auto or cpu.")


def check_files(notebook: str | Path, parameters: dict) -> None:
    """Open the files that a notebook is given, so that one of no use is told before the notebook starts.

    Args:
        notebook: its path; relative ``data_path`` and ``weights`` start from its folder, as in the notebook.
        parameters: what it is given.

    Raises:
        DataError, WeightsError, StudyError: they say which file, why, and what to do.
    """
    folder = Path(notebook).parent
    data_path = str(parameters.get("data_path", "simulated"))
    own = [] if data_path in ("simulated", "galaxy10") else [data_path]
    if files := [*own, *parameters.get("other_data", [])]:
        from galutils.data.galaxies import open_galaxies

        for file in files:
            open_galaxies(folder / Path(file).expanduser())
    given, (kind, *others) = declared_parameters(notebook) | parameters, words_of_weights(notebook)
    if (weights := given.get("weights", kind)) not in (kind, *others):
        if not (path := folder / Path(weights).expanduser()).is_file():
            place = "" if Path(weights).expanduser().is_absolute() else f" in {folder}"
            raise StudyError(f"{weights}: {not_a_file(path)}{place}; {advise_weights(notebook)}.")
        from galutils.models.weights import check_weights

        check_weights(path, given.get("arch", "auto"), kind)


def words_of_weights(notebook: str | Path) -> list[str]:
    """What ``weights`` of a notebook may be but a path, what its approach takes first."""
    # Where the notebook's own approach starts from nothing, what it can start from is the custom network's file.
    kind = starting_weights(Path(notebook).stem) or "simulated"
    others = {"official": ["dino", "simulated"], "dino": ["simulated"]}.get(kind, [])
    return [kind, *others, "random", *["auto"] * (kind != "simulated")]


def advise_weights(notebook: str | Path) -> str:
    """What to give as ``weights``, as the end of a sentence."""
    return f"give {', '.join(words_of_weights(notebook))} or the path of a weights file"


def check_text(name: str, text: object) -> None:
    """Refuse what Snakemake would read as a pattern, or has read as something else than text."""
    if not isinstance(text, str | Path):
        raise StudyError(f"{name} was read as {text!r}, not as text; set it through make, or put quotes around it.")
    if set("{}<>") & set(str(text)):
        raise StudyError(
            f"{name} has braces or < or > ({text}), which Snakemake takes for a pattern; use another name."
        )


def find_file(given: str, *words: str, advice: str) -> str:
    """What a make variable or a profile says: one of its words, or the whole path of a file that is there."""
    path = Path(given).expanduser()
    if given not in words and not path.is_file():
        raise StudyError(f"{given}: {not_a_file(path)}; {advice}.")
    return given if given in words else str(path.resolve())


def find_gpus() -> list[str]:
    """Identities of the GPUs that NVIDIA's driver lets us see; asked without PyTorch, which takes seconds to import."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count, device, identity = ctypes.c_int(), ctypes.c_int(), (ctypes.c_ubyte * 16)()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    found = []
    for number in range(count.value):
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetUuid(identity, device)
        found.append(bytes(identity).hex())
    return found
