"""nbconvert's HTML without what could run, and with what readers of a page need."""

import re

from bs4 import BeautifulSoup, Tag


def clean(body: str) -> str:
    """Nothing in the study's notebooks needs a script: a script there could only have come from the data."""
    soup = BeautifulSoup(body, "html.parser")
    # nbconvert's anchors on headings are links to nowhere useful in print and for screen readers.
    for element in soup.select("a.anchor-link, script, iframe, object, embed, base, meta, link, form"):
        element.decompose()
    for element in soup.find_all(True):
        for name in list(element.attrs):
            value = re.sub(r"[\0-\x20]", "", "".join(element.attrs[name])).lower()  # browsers skip these in addresses
            loads = name.lower() in ("src", "srcset", "poster", "background") and not value.startswith("data:image/")
            if name.lower().startswith("on") or value.startswith(("javascript:", "data:text")) or loads:
                del element[name]
    for head in soup.select("th"):
        if not head.get_text(strip=True):
            head.name = "td"  # an empty heading announces nothing
    for table in soup.select("table"):
        _align(table)
    return str(soup)


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


def code_style() -> str:
    """Colours of code that keep a contrast of 4.5 on their ground, light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style, nobackground=True) for style in ("xcode", "zenburn"))
    nested = dark.get_style_defs(".highlight")
    return f"{light.get_style_defs('.highlight')}\n@media (prefers-color-scheme: dark) {{\n{nested}\n}}"
