"""A commit is told only of the very checkout that the code lies in."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository around a folder, and the package in that folder without a repository of its own."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "thesis")
    folder = tmp_path / "galaxy"
    shutil.copytree(ROOT / "galutils", folder / "galutils", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def commit_of(folder, **environment):
    program = "from galutils.study.provenance import git_commit; print(git_commit())"
    given = os.environ | {"PYTHONPATH": str(folder)} | environment
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_repository_around_the_checkout_is_not_its_own(checkout):
    assert commit_of(checkout) == "unknown"


def test_a_checkout_tells_its_commit_whatever_git_dir_says(checkout):
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "study")
    own = git(checkout, "rev-parse", "--short=12", "HEAD")
    other = str(checkout.parent / ".git")
    assert commit_of(checkout) == own
    assert commit_of(checkout, GIT_DIR=other, GIT_WORK_TREE=str(checkout.parent)) == own
    (checkout / "galutils" / "cli.py").write_text("")
    assert commit_of(checkout) == f"{own}-dirty"


def test_without_git_it_is_unknown(checkout):
    assert commit_of(checkout, PATH="/nowhere") == "unknown"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_somebody_else_says_what_to_do(checkout):
    git(checkout, "init", "--quiet")
    os.chown(checkout, 12345, 12345)
    os.chown(checkout / ".git", 12345, 12345)
    advice = f"git config --global --add safe.directory {checkout}"
    assert commit_of(checkout) == f"unknown (git asks to trust the owner: {advice})"
