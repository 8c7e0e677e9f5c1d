"""What a newcomer looks for in README.md: how to get the study, and of which paper it is."""

import re

import yaml
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_begins_with_a_clone_and_fits_on_200_lines():
    (commands,) = re.findall(r"^## Two commands\n.*?^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    first, second, *_ = commands.splitlines()
    assert first == "git clone <address of this repository> galaxies && cd galaxies"
    assert second.startswith("make report ")
    lines = README.splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 120


def test_it_links_the_paper_and_what_is_linked_is_there():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"][0]
    links = dict(re.findall(r"\[([^]]+)\]\(([^)]+)\)", README.replace("\n", " ")))
    assert links[f"*{paper['title']}*"] == "CITATION.cff"
    assert f"({', '.join(one['family-names'] for one in paper['authors'][:3])} & Forzo, {paper['year']}" in README
    assert links["MIT"] == "LICENSE"
    for place in links.values():
        assert place.startswith("https://") or (ROOT / place).is_file()
