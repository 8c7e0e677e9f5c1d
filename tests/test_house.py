"""The plan of the house: rooms in an order, imports downwards alone, rooms and files that stay small."""

import ast
import re
import subprocess
import sys
from functools import cache
from itertools import product

import pytest
from conftest import ROOT
from fakes import write_run

#: A room may import those that stand before it, the ground floor first; so no circle can close.
ORDER = (
    "errors", "progress", "files", "download", "device", "memory", "data", "models", "evaluation", "training",
    "clustering", "study", "report", "predict", "cli",
)  # fmt: skip
MOST_FILES, MOST_LINES, MOST_PAIRS = 12, 350, 60

PACKAGE = ROOT / "galutils"
FILES = sorted(PACKAGE.rglob("*.py"))


def room(module):
    """The room or ground-floor file of a module's dotted name without the package's."""
    return module.split(".")[0]


def imported(path):
    """Rooms and ground-floor files that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "galutils":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("galutils."):
            found.add(room(node.module.removeprefix("galutils.")))
        elif isinstance(node, ast.Import):
            found |= {room(a.name.removeprefix("galutils.")) for a in node.names if a.name.startswith("galutils.")}
    return found


@cache
def house():
    """For each room and ground-floor file, what it imports of the others."""
    plan = {name: set() for name in ORDER}
    for path in FILES:
        place = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if place != "__init__":
            plan[place] |= imported(path) - {place}
    return plan


def test_there_is_no_ninth_room():
    """A new room, or a file on the ground floor, has to be put into the order."""
    assert {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_downwards(name):
    assert house()[name] <= set(ORDER[: ORDER.index(name)])


def test_rooms_know_few_others():
    plan = house()
    assert sum(other in plan[name] for name, other in product(ORDER, ORDER)) <= MOST_PAIRS


def test_evaluation_opens_no_file():
    assert house()["evaluation"] <= {"errors", "data"}
    own = [path.read_text() for path in FILES if path.parent.name == "evaluation"]
    assert not any(re.search(r"(?<!\w)open\(|read_csv|read_text|Path\(", text) for text in own)


def test_only_a_run_reads_a_runs_files():
    """Names of the files in a run directory stand in one module."""
    names = ("metrics.json", "history.csv", "predictions.csv", "split.csv", "seeds.csv", "calibration.csv")
    readers = {
        path.relative_to(PACKAGE).as_posix() for path in FILES for name in names if f'"{name}"' in path.read_text()
    }
    # Others take checksums of them, or look whether a run is complete.
    assert readers <= {"study/runs.py", "study/keys.py", "predict/novelty.py"}


def test_rooms_and_files_are_small():
    rooms = {path.parent for path in FILES}
    crowded = {folder.name: count for folder in rooms if (count := len(list(folder.glob("*.py")))) > MOST_FILES}
    assert crowded == {}
    long = {path.name: count for path in FILES if (count := len(path.read_text().splitlines())) > MOST_LINES}
    assert long == {}


def test_faces_are_one_sentence():
    for path in PACKAGE.rglob("__init__.py"):
        tree = ast.parse(path.read_text())
        assert len(tree.body) == 1
        assert ast.get_docstring(tree).count("\n") == 0


#: What takes a second or more to import, and is not needed by what begins every day's work.
SLOW = {
    "import galutils.cli": {"torch", "pandas", "scipy", "astropy", "sklearn", "matplotlib"},
    "import galutils.study.collect": {"torch", "astropy", "sklearn", "matplotlib", "scipy.stats"},
    "import galutils.predict.classify": {"torch", "astropy", "sklearn", "matplotlib", "scipy.stats"},
    "import galutils.predict.survey": {"torch", "hats", "lsdb", "distributed"},
    "import galutils.training.supervised, galutils.report.run_page": {"torchvision", "torch._dynamo", "timm", "kornia"},
}


@pytest.mark.parametrize("statement", SLOW)
def test_what_is_slow_is_imported_where_it_is_used(statement):
    code = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not SLOW[statement] & set(loaded.split())


#: Commands with a name that is wrong; {run} stands for a run that is there.
WRONG = (
    "report huge", "bundle huge", "results nowhere", "advise --labels 9 --runs nowhere", "check nope.safetensors",
    "similar nowhere x", "similar {run} x", "features {run} x --to f.parquet", "predict {run} x",
    "classify nowhere x --to out", "classify {run} x --to out",
)  # fmt: skip


def test_what_is_named_wrongly_is_said_before_what_is_slow_is_imported(tmp_path):
    write_run(tmp_path, "custom_cnn", 0, 20)
    lines = [line.replace("{run}", str(tmp_path / "custom_cnn" / "seed0")).split() for line in WRONG]
    code = f"""
import sys
from contextlib import suppress
from galutils import cli
for line in {lines}:
    sys.argv = ["galutils", *line]
    with suppress(SystemExit):
        cli.main()
    print(*{{"torch", "sklearn", "matplotlib", "scipy.stats"}} & {{*sys.modules}}, ".")
"""
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert told.stdout.split("\n") == ["."] * len(WRONG) + [""]
    assert len(told.stderr.splitlines()) == len(WRONG)
    assert all(line.startswith("galutils: ") for line in told.stderr.splitlines())
