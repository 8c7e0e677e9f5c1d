"""A profile: what a file in ``config/`` may say, checked before anything runs."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from galutils.data.splits import WHOLE
from galutils.errors import GalutilsError
from galutils.evaluation.significance import MARGIN


class StudyError(GalutilsError):
    """A configuration that cannot be run; one sentence that says why and what to do."""


def _name(text: str) -> str:
    """Refuse what could not name a folder and a page."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(f"'{text}' cannot name an experiment; use letters, digits, _ and - only")
    if re.search(r"_(seed|fold)\d+$", text):
        raise ValueError(f"'{text}' cannot name an experiment; pages of other seeds, and other folds, end so")
    return text


Name = Annotated[str, AfterValidator(_name)]
Scalar = bool | int | float | str
Seeds = Annotated[list[int], Field(min_length=1)]


class Simulate(BaseModel):
    """How many galaxies are simulated, how large, and in what proportions; see ``galutils mock``."""

    model_config = ConfigDict(strict=True, extra="forbid")
    count: Annotated[int, Field(ge=1)]
    size: Annotated[int, Field(ge=8)]
    seed: int = 0
    proportions: Literal["balanced", "galaxy10"] = "balanced"


class Experiment(BaseModel):
    """A row: its notebook, its seeds where they are not the profile's, and parameters of the notebook."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Scalar]
    notebook: str
    seeds: Seeds | None = None


class Profile(BaseModel):
    """A file in ``config/``."""

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
    margin: Annotated[float, Field(gt=0, lt=1)] = MARGIN

    def seeds_of(self, name: str) -> list[int]:
        """Those of an experiment."""
        return self.experiments[name].seeds or self.seeds


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
        known = ", ".join(Profile.model_fields) if first["type"] == "extra_forbidden" else ""
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
                raise StudyError(f"{path}: '{value}' cannot name an ablation's folder; use letters, digits, _ . -")
    return config
