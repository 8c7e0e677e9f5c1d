"""All pages of a report as one PDF, printed by Chromium: contents, page numbers, figures numbered by chapter."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from bs4 import BeautifulSoup

from galutils.files import atomic_path
from galutils.report.build import make_environment

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--disable-gpu", "--no-pdf-header-footer", "--generate-pdf-document-outline")

#: What does nothing on paper.
DEAD = "script, dialog, button, select, .duel, #duel, #duel-said, .switch, .turn, .toc, .csv"


def write_pdf(folder: Path) -> str:
    """Print the pages of a report that was built to ``study.pdf`` beside them; a line says where it is, or why not."""
    path = folder / "study.pdf"
    path.unlink(missing_ok=True)  # of an earlier report
    if not (browser := next(filter(None, map(shutil.which, BROWSERS)), None)):
        return f"{path}: was not made, as there is no Chromium here (apt install chromium)."
    (page, names), leaves = compose(folder), {}
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # a browser may end after its print
        source, printed = Path(scratch) / "print.html", Path(scratch) / "study.pdf"
        where = (f"--user-data-dir={scratch}/profile", f"--print-to-pdf={printed}", source.as_uri())
        for _ in range(2):  # the contents say on which page a chapter begins, which the first print tells
            told = page
            for name in names:
                told = told.replace(f"@page-{name}@", leaves.get(name, ""))
            source.write_text(told, encoding="utf-8")
            alone = ("--no-sandbox",) if os.geteuid() == 0 else ()  # root's cannot work
            try:
                done = subprocess.run([browser, *FLAGS, *alone, *where], capture_output=True, text=True, timeout=600)
            except subprocess.TimeoutExpired:
                return f"{path}: was not made, as Chromium took more than ten minutes."
            if done.returncode or not printed.exists():
                return f"{path}: was not made, as Chromium failed ({done.stderr.strip()[-200:]})."
            leaves = find_leaves(printed.read_bytes(), names)
        with atomic_path(path) as partial:
            shutil.copyfile(printed, partial)
    return str(path)


def compose(folder: Path) -> tuple[str, list[str]]:
    """All pages of a report but its explorer as one page to print, and their names in its order.

    In its contents ``@page-NAME@`` stands for the number of the page on which a chapter begins.
    """
    soup = BeautifulSoup((folder / "index.html").read_text(encoding="utf-8"), "html.parser")
    titles = {link["href"].removesuffix(".html"): link.text for link in soup.select(".contents nav a")}
    del titles["explorer"]
    names = [*titles]
    chapters = [(name, title, _chapter(folder / f"{name}.html", name, names)) for name, title in titles.items()]
    warnings = soup.select_one("aside.warning") or ""
    template = make_environment().get_template("print.html")
    return template.render(chapters=chapters, profile=folder.name, warnings=warnings), names


def _chapter(page: Path, name: str, names: list[str]) -> str:
    """What a page says, its places and numbers unlike those of other chapters, without what only a screen needs."""
    main = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select_one("main")
    for element in main.select(DEAD):
        element.decompose()
    for element in main.select("details"):
        element["open"] = ""
    for element in main.select("[id]"):
        if element.find_parent("svg") is None:
            element["id"] = f"{name}-{element['id']}"
    for link in main.select("a[href]"):
        target, _, place = link["href"].partition("#")
        target = target.removesuffix(".html") or name
        if target in names:
            link["href"] = f"#{target}-{place}" if place else f"#{target}"
            if re.fullmatch(r"(figure|table) \d+\.?", link.text, re.IGNORECASE):  # and not a share that links to one
                link.string = re.sub(r"\d+", rf"{names.index(target) + 1}.\g<0>", link.text, count=1)
        elif not target.startswith("http"):
            link.unwrap()
    title = main.find("h1")
    title["id"] = name
    title.insert(0, f"{names.index(name) + 1}  ")
    return main.decode_contents()


def find_leaves(pdf: bytes, names: list[str]) -> dict[str, str]:
    """On which page each place lies: Chromium writes what is not drawn as plain text, and pages in their order."""
    pages = re.findall(rb"(\d+) 0 obj\s*<</Type /Page\s", pdf)
    places = dict(re.findall(rb"/(\w+) \[(\d+) 0 R /XYZ", pdf))
    known = {name: places.get(name.encode()) for name in names}
    return {name: str(pages.index(place) + 1) for name, place in known.items() if place in pages}
