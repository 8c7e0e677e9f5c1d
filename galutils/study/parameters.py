"""What notebooks declare as their parameters, and what they may be given."""

import ast
import ctypes
from functools import cache
from pathlib import Path
from typing import Any

from galutils.evaluation.paper import starting_weights
from galutils.study.profile import StudyError

DEVICES = ("auto", "cpu", "cuda")

#: Kinds of parameters in words.
_KINDS = {bool: "true or false", int: "a whole number", float: "a number such as 1.0e-3", str: "a text", list: "a list"}


@cache
def declared_parameters(notebook: str | Path) -> dict[str, Any]:
    """Names and defaults of a notebook's parameters, from its cell tagged ``parameters``.

    Raises:
        StudyError: the notebook does not exist or has no such cell.
    """
    from papermill import inspect_notebook

    if not Path(notebook).is_file() or Path(notebook).suffix != ".ipynb":
        raise StudyError(f"{notebook}: there is no such notebook; name one of notebooks/.")
    found = inspect_notebook(notebook)
    if not found:
        raise StudyError(f"{notebook}: has no cell tagged 'parameters'; tag one.")
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


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
        DataError, WeightsError: they say which file, why, and what to do.
    """
    folder, name = Path(notebook).parent, Path(notebook).stem
    data_path = str(parameters.get("data_path", "simulated"))
    own = [] if data_path in ("simulated", "galaxy10") else [data_path]
    if files := [*own, *parameters.get("other_data", [])]:
        from galutils.data.galaxies import open_galaxies

        for file in files:
            open_galaxies(folder / Path(file).expanduser())
    kind, weights = starting_weights(name), str(parameters.get("weights", "auto"))
    if kind and weights not in (kind, "random", "auto"):
        from galutils.models.weights import check_weights

        check_weights(folder / Path(weights).expanduser(), parameters.get("arch", "auto"), kind)


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
