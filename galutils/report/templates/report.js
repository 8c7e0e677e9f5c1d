"use strict";
/* What all pages share: tables that sort, and wide things that say so and that the keyboard can scroll. */

/* Percentages, thousands and "81.2% ± 1.0%" sort by their first number; what has none comes last. */
const numberIn = (text) => {
  const found = text.replace(/[,\s]/g, "").match(/^[-−]?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return found ? Number(found[0].replace("−", "-")) : NaN;
};

const compareCells = (one, other) => {
  const [a, b] = [one, other].map(numberIn);
  if (!Number.isNaN(a) && !Number.isNaN(b)) return a - b;
  if (Number.isNaN(a) && Number.isNaN(b)) return one.localeCompare(other);
  return 0;
};

const sortTable = (table, column, heading) => {
  const falling = heading.getAttribute("aria-sort") === "descending";
  const direction = falling || column === 0 && !heading.hasAttribute("aria-sort") ? "ascending" : "descending";
  for (const cell of heading.parentElement.cells) cell.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const missing = (row) => column > 0 && Number.isNaN(numberIn(row.cells[column].textContent.trim()));
  const text = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => missing(a) - missing(b) || sign * compareCells(text(a), text(b)));
  table.tBodies[0].append(...rows);
};

for (const table of document.querySelectorAll("table.results, .notebook table")) {
  const heads = table.tHead?.rows ?? [];
  if (heads.length !== 1 || table.tBodies[0].rows.length < 3) continue;
  [...heads[0].cells].forEach((heading, column) => {
    if (!heading.textContent.trim() || heading.classList.contains("chart")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortTable(table, column, heading));
  });
}

/* Every table can be taken along. */
const asCsv = (table) => [...table.rows].map((row) => [...row.cells]
  .map((cell) => `"${cell.textContent.trim().replaceAll('"', '""')}"`).join(",")).join("\n");
const PAGE_NAME = decodeURIComponent(location.pathname).split("/").pop().replace(/\.html$/, "");
for (const caption of document.querySelectorAll("table > caption")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "csv";
  button.textContent = "CSV";
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([asCsv(caption.parentElement)], { type: "text/csv" }));
    link.download = `${PAGE_NAME}-${caption.parentElement.id}.csv`;
    link.click();
  });
  caption.append(" ", button);
}

/* A table of so many rows scrolls in itself, that the reader may go past it. */
const MOST_ROWS = 30;
const reachScrollers = () => {
  for (const box of document.querySelectorAll(".scroll, .output_html, figure.drawing, pre")) {
    const tall = box.querySelector("table")?.rows.length > MOST_ROWS;
    box.toggleAttribute("data-tall", tall);
    const wide = box.scrollWidth > box.clientWidth;
    box.toggleAttribute("data-wide", wide);
    if (wide || tall) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
addEventListener("resize", reachScrollers);
reachScrollers();

/* On paper nothing scrolls: what is wider than it is made smaller. Pixels of A4 between its margins. */
const PAPER = 680;
addEventListener("beforeprint", () => {
  const main = document.querySelector("main"), tables = [...main.querySelectorAll("table")];
  main.style.cssText = `width: ${PAPER}px; padding: 0`;
  const widths = tables.map((table) => table.offsetWidth);
  main.style.cssText = "";
  tables.forEach((table, index) => { table.style.zoom = Math.min(1, PAPER / widths[index]); });
});
addEventListener("afterprint", () => { for (const table of document.querySelectorAll("main table")) table.style.zoom = ""; });

/* A menu that was opened closes again on Escape and on a click elsewhere. */
const menu = document.querySelector(".contents");
addEventListener("keydown", (event) => { if (event.key === "Escape") menu.open = false; });
addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
