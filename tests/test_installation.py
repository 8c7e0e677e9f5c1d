"""environment.yml, pyproject.toml, constraints.txt and the Makefile describe one and the same installation."""

import re
import sys
import tomllib

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins():
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def requirements():
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]:
        if not text.startswith("galutils["):
            yield Requirement(text)


def test_every_requirement_is_pinned_within_its_range():
    pinned = pins()
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, f"{requirement} does not admit {version}"


def test_every_import_of_the_package_is_a_requirement():
    imported = set()
    for path in (ROOT / "galutils").rglob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    known = {canonicalize_name(requirement.name) for requirement in requirements()}
    renamed = {"sklearn": "scikit-learn", "yaml": "pyyaml", "bs4": "beautifulsoup4"}
    renamed |= {"PIL": "pillow", "IPython": "ipython", "upath": "universal-pathlib"}
    foreign = imported - set(sys.stdlib_module_names) - {"galutils"}
    assert {canonicalize_name(renamed.get(name, name)) for name in foreign} <= known


def test_conda_installs_the_same_set_as_make():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-c constraints.txt", "-e .[dev]"]
    makefile = (ROOT / "Makefile").read_text()
    assert "--constraint constraints.txt --editable '.[dev]'" in makefile
    (python,) = [entry for entry in environment["dependencies"] if str(entry).startswith("python=")]
    assert Version(python.split("=")[1]) in SpecifierSet(PROJECT["requires-python"])
