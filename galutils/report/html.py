"""nbconvert's HTML without what could run, and with what readers of a page need: captions, anchors, a glossary."""

import json
import re
from collections.abc import Collection
from importlib.resources import files
from urllib.parse import urlencode

from bs4 import BeautifulSoup, NavigableString, Tag
from markupsafe import Markup, escape

#: The one kind of link that carries its file with it.
CSV_URL = "data:text/csv;base64,"

#: Lines that a cell may print before they are a log, and a training, whose lines begin so.
LOG, TRAINING, EPOCH = 40, 4, re.compile(r"^epoch \d+/\d+: ", re.MULTILINE)

#: What a sentence's numbers look like that were computed: shares, and differences with their sign.
COMPUTED = re.compile(r"(?<![\w.])(?:\d+(?:\.\d+)?%(?! interval)|[-+]\d+(?:\.\d+)?)")

#: Where a word is explained elsewhere, is code, or is drawn.
PLAIN = (
    "a",
    "abbr",
    "button",
    "caption",
    "code",
    "figure",
    "h1",
    "h2",
    "h3",
    "pre",
    "script",
    "style",
    "summary",
    "svg",
    "td",
    "th",
)


def clean(
    body: str, page: str = "page", mapped: Collection[int] = (), experiment: str | None = None
) -> tuple[str, list[tuple[str, str]]]:
    """A page's body without scripts, and the anchors and titles of its sections. page: its name, for downloads.

    A picture of one of the ``mapped`` galaxies, rows of the file, is a link to it in the explorer, by ``experiment``.
    Nothing in the study's notebooks needs a script: a script there could only have come from the data.
    """
    soup = BeautifulSoup(body, "html.parser")
    # nbconvert's anchors on headings are links to nowhere useful in print and for screen readers.
    for element in soup.select("a.anchor-link, script, iframe, object, embed, base, meta, link, form"):
        element.decompose()
    for element in soup.find_all(True):
        for name in list(element.attrs):
            value = re.sub(r"[\0-\x20]", "", "".join(element.attrs[name])).lower()  # browsers skip these in addresses
            loads = name.lower() in ("src", "srcset", "poster", "background") and not value.startswith("data:image/")
            runs = value.startswith(("javascript:", "data:text")) and not value.startswith(CSV_URL)
            if name.lower().startswith("on") or runs or loads:
                del element[name]
    for head in soup.select("th"):
        if not head.get_text(strip=True):
            head.name = "td"  # an empty heading announces nothing
    for picture in soup.select("figure.gallery img[data-row]"):
        if int(picture["data-row"]) in mapped:
            wanted = {"approach": experiment, "row": picture["data-row"]}
            address = urlencode({name: value for name, value in wanted.items() if value})
            picture.wrap(soup.new_tag("a", href=f"explorer.html#{address}"))
    for table in soup.select("table"):
        _align(table)
    for printed in soup.select(".output_stream pre"):
        _fold(soup, printed)
    for cell in soup.select("tbody tr > :first-child"):
        if (name := cell.string) and " (" in name:
            _badge(soup, cell, name)
    _name_sections(soup)
    _number(soup, page)
    _explain(soup)
    return str(soup), [(found["id"], found.get_text()) for found in soup.select("h2")]


def _fold(soup: BeautifulSoup, printed: Tag) -> None:
    """Of a log, its last line; the rest is there for who opens it."""
    text = printed.get_text().strip()
    lines = text.splitlines()
    if len(lines) > (TRAINING if EPOCH.search(text) else LOG):
        folded = printed.wrap(soup.new_tag("details", attrs={"class": "log"}))
        folded.insert(0, soup.new_tag("summary", string=f"{lines[-1]} ({len(lines)} lines)"))


def _align(table: Tag) -> None:
    """Mark cells that hold words rather than numbers, and the headings of columns that hold nothing else."""
    for cell in table.select("td"):
        if not re.match(r"[-−+–<]?\s*\d|[-–]?$", cell.get_text(strip=True)):  # noqa: RUF001 (minus and dash)
            cell["class"] = [*cell.get("class", []), "words"]
    heads, *others = table.select("thead tr") or [None]
    rows = [row.find_all(["td", "th"]) for row in table.select("tbody tr")]
    if heads is None or others or not rows:
        return
    heads = heads.find_all(["td", "th"])
    if all(len(row) == len(heads) for row in rows):
        for head, *cells in zip(heads, *rows, strict=True):
            if all("words" in cell.get("class", []) for cell in cells):
                head["class"] = [*head.get("class", []), "words"]


def _badge(soup: BeautifulSoup, cell: Tag, name: str) -> None:
    """What stands in brackets behind the name of an approach, set smaller."""
    start, *marks = name.split(" (")
    cell.string = start
    for mark in marks:
        cell.append(" ")
        cell.append(soup.new_tag("span", attrs={"class": "badge"}, string=mark.rstrip(")")))


def _name_sections(soup: BeautifulSoup) -> None:
    """Anchors that can be typed, each on one heading."""
    for number, found in enumerate(soup.select("h2, h3"), 1):
        slug = re.sub(r"[^a-z0-9]+", "-", found.get_text().lower()).strip("-") or "section"
        found["id"] = slug if soup.find(id=slug) in (None, found) else f"{slug}-{number}"


def _number(soup: BeautifulSoup, page: str) -> None:
    """A caption with a number that links to it for each table and figure; figures are called what describes them."""
    for number, table in enumerate(soup.select("table"), 1):
        above = table.find_previous(["h1", "h2", "h3"])
        caption = table.caption or soup.new_tag("caption", string=above.get_text() if above else "")
        table.insert(0, _numbered(soup, caption, table, f"Table {number}"))
    for number, figure in enumerate(soup.select("figure.drawing, figure.gallery"), 1):
        image = figure.find(["svg", "img"])
        label = figure.attrs.pop("aria-label", None) or (image or {}).get("alt", "")
        figure.attrs.pop("role", None)
        if image is not None and image.name == "svg":
            image["role"], image["aria-label"] = "img", label
        caption = soup.new_tag("figcaption", string=label)
        figure.append(_numbered(soup, caption, figure, f"Figure {number}"))
        if link := figure.select_one("a.csv"):
            link["download"] = f"{page}-figure-{number}.csv"
            caption.append(link.extract())


def _numbered(soup: BeautifulSoup, caption: Tag, of: Tag, name: str) -> Tag:
    of["id"] = name.lower().replace(" ", "-")
    link = soup.new_tag("a", href=f"#{of['id']}", string=f"{name}.")
    caption.insert(0, " ")
    caption.insert(0, link)
    return caption


def _explain(soup: BeautifulSoup) -> None:
    """The first time that a term of the glossary stands in the text, it says what it means."""
    glossary = json.loads(files("galutils.report").joinpath("templates/glossary.json").read_text(encoding="utf-8"))
    texts = soup.find_all(string=re.compile("|".join(map(re.escape, glossary))))
    texts = [text for text in texts if type(text) is NavigableString and text.find_parent(PLAIN) is None]
    for term, meaning in glossary.items():
        wanted = re.compile(rf"(?<![\w-]){re.escape(term)}(?![\w-])")
        for place, text in enumerate(texts):
            if wanted.search(text):
                before, after = map(NavigableString, wanted.split(text, maxsplit=1))
                said = soup.new_tag("abbr", attrs={"data-means": meaning, "tabindex": "0"}, string=term)
                text.replace_with(before, said, after)
                texts[place : place + 1] = [before, after]
                break


def link_numbers(text: str, shares: str, differences: str) -> Markup:
    """A plain sentence as HTML, whose numbers are links to the parts of a page that show where they come from."""

    def link(found: re.Match) -> str:
        return f'<a class="number" href="{shares if found[0].endswith("%") else differences}">{found[0]}</a>'

    return Markup(COMPUTED.sub(link, str(escape(text))))


def code_style() -> str:
    """Colours of code that keep a contrast of 4.5 on their ground, light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style, nobackground=True) for style in ("xcode", "zenburn"))
    nested = dark.get_style_defs(".highlight")
    return f"{light.get_style_defs('.highlight')}\n@media (prefers-color-scheme: dark) {{\n{nested}\n}}"
