"""The pages of a report on paper: contents with page numbers, numbers by chapter, nothing cut."""

import re

import pytest
from conftest import needs_chromium

from galutils.report.build import make_environment
from galutils.report.pdf import compose, find_leaves, write_pdf

WIDE = "".join(f"<td>{'unbroken' * 3}{number}</td>" for number in range(12))
CAPTION = '<caption><a href="#table-1">Table 1.</a> Wide.</caption>'
TABLE = f'<table id="table-1">{CAPTION}<tbody><tr>{WIDE}</tr></tbody></table>'
FIGURE = '<figure class="drawing" id="figure-1"><svg width="1500" height="300" viewBox="0 0 1500 300"></svg></figure>'
BODIES = {
    "index": f'<h1>Answer</h1>{TABLE}<a href="two.html#table-1">table 1</a>'
    '<a href="two.html#table-1">60%</a> <a href="explorer.html#row=1">map</a>',
    "one": f'<h1>First</h1><h2 id="why">Why</h2>{FIGURE}<a href="#figure-1">Figure 1.</a><p style="height: 3000px">',
    "two": f"<h1>Second</h1>{TABLE}<details><summary>More</summary>hidden</details><script>alert(1)</script>",
}


@pytest.fixture
def report(tmp_path):
    navigation = [("one.html", "The first"), ("two.html", "The second")]
    environment = make_environment(navigation=navigation, warnings=["Simulated galaxies."], profile="made up")
    template = environment.from_string('{% extends "base.html" %}{% block content %}{{ body | safe }}{% endblock %}')
    for name, body in BODIES.items():
        (tmp_path / f"{name}.html").write_text(template.render(body=body, title=name, current=f"{name}.html"))
    return tmp_path


def test_places_and_numbers_are_those_of_chapters(report):
    page, names = compose(report)
    assert names == ["index", "one", "two"]
    assert re.findall(r'<a href="(.*?)">(.*?)</a>', page) == [
        ("#index", "Findings"), ("#one", "The first"), ("#two", "The second"),
        ("#index-table-1", "Table 1.1."), ("#two-table-1", "table 3.1"),
        ("#two-table-1", "60%"),
        ("#one-figure-1", "Figure 2.1."), ("#two-table-1", "Table 3.1."),
    ]  # fmt: skip
    assert all(f'id="{place}"' in page for place in re.findall(r'<a href="#(.*?)"', page))
    assert "alert" not in page
    assert '<details open="">' in page
    assert "Simulated galaxies." in page


@needs_chromium
def test_nothing_is_cut_and_the_contents_tell_the_pages(report, browser):
    assert write_pdf(report) == str(report / "study.pdf")
    # The second chapter's 3000 pixels, at three quarters of their size, take more than two pages of 998.
    leaves = {"index": "2", "one": "3", "two": "6"}
    assert find_leaves((report / "study.pdf").read_bytes(), [*leaves]) == leaves
    (report / "print.html").write_text(compose(report)[0])
    page = browser.new_page(viewport={"width": 680, "height": 900})
    page.emulate_media(media="print")
    page.goto((report / "print.html").as_uri())
    ends = "all => all.map(one => one.getBoundingClientRect().right)"
    edge = page.locator("body").evaluate("one => one.getBoundingClientRect().right")
    assert max(page.locator("table, svg").evaluate_all(ends)) <= edge + 1


def test_a_print_that_does_not_tell_its_pages_has_contents_without_them():
    told = b"1 0 obj <</Type /Page /Parent 9 0 R>> /index [1 0 R /XYZ 0 0 0] /one [7 0 R /XYZ 0 0 0]"
    assert find_leaves(told, ["index", "one", "two"]) == {"index": "1"}


def test_without_chromium_a_line_says_so_and_no_older_print_stays(report, monkeypatch):
    (report / "study.pdf").touch()
    monkeypatch.setenv("PATH", "")
    assert write_pdf(report) == (
        f"{report / 'study.pdf'}: was not made, as there is no Chromium here (apt install chromium)."
    )
    assert not (report / "study.pdf").exists()


@pytest.mark.parametrize(("user", "said"), [(0, "--no-sandbox"), (1000, "")])
def test_the_sandbox_is_left_out_for_root_alone_and_a_failure_is_told(
    report, tmp_path_factory, monkeypatch, user, said
):
    browser = tmp_path_factory.mktemp("bin") / "chromium"
    browser.write_text('#!/bin/sh\nfor one; do case $one in *sandbox*) echo "$one" >&2; esac; done; exit 1\n')
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(browser.parent))
    monkeypatch.setattr("os.geteuid", lambda: user)
    assert write_pdf(report) == f"{report / 'study.pdf'}: was not made, as Chromium failed ({said})."
