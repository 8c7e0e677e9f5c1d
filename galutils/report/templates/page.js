/* The code switch, remembered, and the galaxies behind the cells of confusion matrices. */
const box = document.getElementById("code-switch");
const remember = (value) => { try { localStorage.setItem("galutils-code", value); } catch { /* private window */ } };
const recall = () => { try { return localStorage.getItem("galutils-code"); } catch { return null; } };
const apply = () => { document.body.classList.toggle("with-code", box.checked); reachScrollers(); };
box.checked = recall() === "yes";
box.addEventListener("change", () => { remember(box.checked ? "yes" : "no"); apply(); });
apply();

const source = document.getElementById("cell-data");
if (source) showCells(JSON.parse(source.textContent));

function showCells(data) {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);

  for (const matrix of document.querySelectorAll("[data-matrix]")) {
    const known = data.matrices[matrix.dataset.matrix];
    const figure = matrix.closest("figure");
    figure.setAttribute("role", "group");
    figure.classList.add("clickable");
    matrix.closest("svg").setAttribute("role", "group");
    const cells = [...matrix.querySelectorAll("[data-cell]")];
    const place = (cell) => cell.dataset.cell.split(" ").map(Number);
    const total = (row) => cells.reduce((sum, cell) => sum + (place(cell)[0] === row ? place(cell)[2] : 0), 0);
    const sentence = (cell) => {
      const [row, column, count] = place(cell);
      const share = total(row) ? ` (${Math.round(100 * count / total(row))}% of the class)` : "";
      const what = row === column ? "recognised" : `taken for ${data.classes[column]}`;
      return `${count} ${data.classes[row]} ${what}${share}`;
    };
    cells.forEach((cell, index) => {
      cell.setAttribute("role", "button");
      cell.setAttribute("aria-label", sentence(cell));
      /* One stop of the tabulator key for each matrix; arrows go from cell to cell. */
      cell.setAttribute("tabindex", index ? "-1" : "0");
      const show = () => {
        const at = cell.getBoundingClientRect();
        tip.textContent = sentence(cell);
        tip.hidden = false;
        tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
        tip.style.top = `${at.top > tip.offsetHeight + 8 ? at.top - tip.offsetHeight - 6 : at.bottom + 6}px`;
      };
      cell.addEventListener("mouseenter", show);
      cell.addEventListener("focus", show);
      for (const end of ["mouseleave", "blur"]) cell.addEventListener(end, () => { tip.hidden = true; });
      cell.addEventListener("click", () => openCell(data, known, place(cell), sentence(cell)));
      cell.addEventListener("keydown", (event) => {
        const size = data.classes.length;
        const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: size, ArrowUp: -size }[event.key];
        if (event.key === "Enter" || event.key === " ") cell.dispatchEvent(new MouseEvent("click"));
        else if (!step || !cells[index + step]) return;
        else {
          cell.setAttribute("tabindex", "-1");
          cells[index + step].setAttribute("tabindex", "0");
          cells[index + step].focus();
        }
        event.preventDefault();
      });
    });
  }
  addEventListener("scroll", () => { tip.hidden = true; }, true);
  document.querySelector("#cell .close").addEventListener("click", () => document.getElementById("cell").close());
}

function openCell(data, known, [row, column, count], sentence) {
  const dialog = document.getElementById("cell");
  const galaxies = known?.cells[`${row} ${column}`] ?? [];
  dialog.querySelector("h2").textContent = sentence;
  const surest = known?.supervised ? "with the highest probability for the predicted class" : "that belong most clearly to the clusters of this class";
  dialog.querySelector("p").textContent = !count ? "No galaxy fell into this cell." : [
    galaxies.length < count ? `${galaxies.length} of them, those ${surest} first.` : `Those ${surest} come first.`,
    known?.seeds > 1 ? `The cell sums ${known.seeds} seeds; the explorer shows the first of them alone.` : "",
    galaxies.every((galaxy) => galaxy[2]) ? "" : "Those without a link are not in the explorer.",
  ].filter(Boolean).join(" ");
  dialog.querySelector("ul").replaceChildren(...galaxies.map(([number, index, mapped]) => {
    const item = document.createElement("li");
    const picture = document.createElement("span");
    picture.className = `thumb sheet${Math.floor(index / data.sheet)}`;
    const at = index % data.sheet;
    const side = data.shown;
    picture.style.cssText = `width: ${side}px; height: ${side}px; background-size: ${side * data.columns}px auto; `
      + `background-position: ${-side * (at % data.columns)}px ${-side * Math.floor(at / data.columns)}px`;
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `Galaxy in row ${number}`);
    picture.title = `row ${number}`;
    const holder = document.createElement(mapped ? "a" : "span");
    if (mapped) holder.href = `explorer.html#${new URLSearchParams({ approach: known.experiment, row: number })}`;
    holder.append(picture);
    item.append(holder);
    return item;
  }));
  const link = dialog.querySelector("p > a");
  link.hidden = !known || !count;
  if (known) {
    link.href = `explorer.html#${new URLSearchParams({ approach: known.experiment, true: row, predicted: column })}`;
  }
  dialog.showModal();
}
