/* The galaxy explorer: one state, one function that draws it, and what changes the state; data.js has the data. */
const element = (id) => document.getElementById(id);
const rows = data.rows.map((_, index) => index);
const PAGE = 60;

/* Families of Galaxy10's classes have a symbol each, so that colour is not all that tells them apart; other classes take turns. */
const SYMBOLS = ["circle", "square", "triangle-up", "diamond"];
const STYLES = data.colours ? data.colours.map((colour, label) => [colour, SYMBOLS[label % SYMBOLS.length]]) : [
  ["#d55e00", "square"], ["#e69f00", "square"], ["#0072b2", "circle"], ["#56b4e9", "circle"], ["#009e73", "circle"],
  ["#cc79a7", "triangle-up"], ["#a3428a", "triangle-up"], ["#8f7bd1", "triangle-up"], ["#8a8a1f", "diamond"], ["#7c8794", "diamond"],
];
const SHAPES = {
  square: "M-5-5H5V5H-5Z", circle: "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0", "triangle-up": "M0-6L6.5 5.5H-6.5Z", diamond: "M0-7.5L6 0L0 7.5L-6 0Z",
};
const RIGHT = ["#0072b2", "circle"], WRONG = ["#d55e00", "diamond"], NONE = ["#7c8794", "circle"];
/* Points of a crowd are too small for shapes, which take a machine without a graphics card three times as long. */
const CROWDED = rows.length > 6000;
if (CROWDED) for (const style of [...STYLES, RIGHT, WRONG]) style[1] = "circle";

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
for (const approach of data.approaches) approach.probabilities = bytes(approach.probabilities);

const state = { approach: 0, projection: Object.keys(data.maps)[0], colour: "true", outcome: "all", predicted: "", classes: new Set(data.classes.keys()), chosen: null, lacking: null, pages: 1, frame: null, box: null };

const predicted = (index) => data.approaches[state.approach].predicted[index];
const isRight = (index) => predicted(index) === data.true[index];
const isShown = (index) => state.classes.has(data.true[index])
  && (state.box === null || state.box.has(index))
  && (state.outcome === "all" || predicted(index) >= 0 && isRight(index) === (state.outcome === "right"))
  && (state.predicted === "" || predicted(index) === Number(state.predicted));

const styleOf = (index) => {
  if (state.colour === "outcome") return predicted(index) < 0 ? NONE : isRight(index) ? RIGHT : WRONG;
  const value = { true: data.true, predicted: data.approaches[state.approach].predicted, cluster: data.clusters }[state.colour][index];
  return value < 0 ? NONE : STYLES[value % STYLES.length];
};

/* A thumbnail as a piece of its sheet, at a side in pixels. */
const setThumb = (span, index, side) => {
  const at = index % data.sheet;
  span.className = `thumb sheet${Math.floor(index / data.sheet)}`;
  span.style.cssText = `width: ${side}px; height: ${side}px; background-size: ${side * data.columns}px auto; `
    + `background-position: ${-side * (at % data.columns)}px ${-side * Math.floor(at / data.columns)}px`;
};

const describe = (index) => {
  const outcome = predicted(index) < 0 ? "not tested by this approach" : isRight(index) ? "recognised" : `taken for ${data.classes[predicted(index)]}`;
  return `Row ${data.rows[index]}: ${data.classes[data.true[index]]}, ${outcome}`;
};

const thumbButton = (index, side) => {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const picture = document.createElement("span");
  button.type = "button";
  button.title = describe(index);
  button.setAttribute("aria-label", describe(index));
  button.setAttribute("aria-pressed", String(index === state.chosen));
  button.classList.toggle("wrong", predicted(index) >= 0 && !isRight(index));
  setThumb(picture, index, side);
  button.append(picture);
  button.addEventListener("click", () => choose(index));
  button.addEventListener("mouseenter", () => showDetail(index));
  button.addEventListener("mouseleave", () => showDetail(state.chosen));
  item.append(button);
  return item;
};

/* Where no galaxy is chosen, that; and which row was asked for where it is not here. */
function showNothing() {
  element("portrait").className = "thumb";
  element("portrait").setAttribute("aria-label", "No galaxy chosen");
  element("name").textContent = "No galaxy chosen";
  element("verdict").textContent = state.lacking === null ? "" : `Row ${state.lacking} is not among the galaxies shown here.`;
  element("place").textContent = "";
  for (const cell of element("opinions").querySelectorAll("td")) cell.textContent = "";
  for (const line of element("probabilities").querySelectorAll("tr")) {
    line.classList.remove("truth");
    line.querySelector("span").style.width = "0";
    line.querySelector(".percent").textContent = "–";
  }
}

function showDetail(index) {
  const approach = data.approaches[state.approach];
  element("probabilities").caption.textContent = approach.supervised ? "Probabilities by this approach"
    : "Memberships in the clusters matched with each class, which are no probabilities";
  if (index === null) return showNothing();
  setThumb(element("portrait"), index, 168);
  element("portrait").setAttribute("aria-label", describe(index));
  element("name").textContent = data.classes[data.true[index]];
  element("verdict").textContent = describe(index);
  showOpinions(index);
  element("probabilities").querySelectorAll("tr").forEach((line, label) => {
    const share = approach.probabilities[index * data.classes.length + label] / 255;
    line.classList.toggle("truth", label === data.true[index]);
    line.querySelector("span").style.width = predicted(index) < 0 ? "0" : `${100 * share}%`;
    line.querySelector(".percent").textContent = predicted(index) < 0 ? "–" : `${Math.round(100 * share)}%`;
  });
}

/* The class that each approach gives, with its probability where it learnt from labels; and where the galaxy lies. */
function showOpinions(index) {
  element("opinions").querySelectorAll("td").forEach((cell, number) => {
    const { predicted: given, probabilities, supervised } = data.approaches[number];
    const share = Math.round(100 * probabilities[index * data.classes.length + given[index]] / 255);
    cell.textContent = given[index] < 0 ? "not asked" : data.classes[given[index]] + (supervised ? `, ${share}%` : "");
    cell.classList.toggle("wrong", given[index] >= 0 && given[index] !== data.true[index]);
  });
  element("place").textContent = "";
  if (!data.places?.[index]) return;
  const [ra, dec] = data.places[index];
  const link = document.createElement("a");
  link.href = `https://www.legacysurvey.org/viewer?ra=${ra}&dec=${dec}&layer=ls-dr9&zoom=15`;
  link.textContent = `${ra.toFixed(4)}°, ${dec.toFixed(4)}°`;
  element("place").replaceChildren("On the sky: ", link);
}

const neighbours = (index) => data.neighbours[index];

function choose(index) {
  state.chosen = index;
  if (index !== null) state.lacking = null;
  showDetail(index);
  writeAddress();
  const near = index === null ? [] : neighbours(index);
  element("neighbours").replaceChildren(...near.map((other) => thumbButton(other, 72)));
  for (const button of element("gallery").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(index !== null && button.title === describe(index)));
  }
  Plotly.relayout("map", { shapes: rings() });
}

const traces = () => {
  const { x, y } = data.maps[state.projection];
  const shown = rows.filter(isShown), others = rows.filter((index) => !isShown(index));
  const size = CROWDED ? 4 : rows.length > 1500 ? 6 : rows.length > 400 ? 8 : 10;
  const trace = (list, marker, more) => ({ type: "scattergl", mode: "markers", x: list.map((i) => x[i]), y: list.map((i) => y[i]), customdata: list, marker, hoverinfo: "none", ...more });
  const styles = shown.map(styleOf);
  return [
    trace(others, { size: size - 2, color: "#8b96a3", opacity: 0.18 }, { hoverinfo: "skip" }),
    trace(shown, { size, color: styles.map((style) => style[0]), symbol: styles.map((style) => style[1]), opacity: 0.85 }),
  ];
};

/* Round the galaxy chosen and those like it: shapes, since a change of any trace is one of all points. */
const rings = () => {
  const { x, y } = data.maps[state.projection];
  const color = getComputedStyle(document.body).getPropertyValue("--ink");
  const ring = (index, half, width) => ({ type: "circle", xsizemode: "pixel", ysizemode: "pixel", xanchor: x[index], yanchor: y[index], x0: -half, x1: half, y0: -half, y1: half, line: { color, width } });
  return state.chosen === null ? [] : [...neighbours(state.chosen).map((other) => ring(other, 7, 1.5)), ring(state.chosen, 9, 3)];
};

/* With a range of its own, which rings do not widen. */
const axis = (places) => {
  const low = Math.min(...places), high = Math.max(...places), edge = 1 + (high - low) / 12;
  return { range: [low - edge, high + edge], showgrid: false, zeroline: false, showticklabels: false, ticks: "", showline: false };
};
const layout = () => ({
  margin: { l: 8, r: 8, t: 8, b: 8 }, showlegend: false, hovermode: "closest", dragmode: "select", hoverdistance: 12,
  modebar: { bgcolor: "rgba(0,0,0,0)", color: "#7c8794", activecolor: "#0072b2" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis(data.maps[state.projection].x), yaxis: axis(data.maps[state.projection].y), shapes: rings(), uirevision: state.projection,
});
const CONFIG = { displayModeBar: true, displaylogo: false, modeBarButtons: [["select2d", "pan2d", "resetScale2d"]], scrollZoom: true, responsive: true, doubleClick: "reset" };

const KEYS = { true: "", predicted: "Coloured by the class that the approach predicts.", outcome: "", cluster: "Coloured by cluster." };

function drawKeys() {
  const byClass = state.colour === "true" || state.colour === "predicted";
  element("classes").querySelectorAll("label").forEach((label, value) => {
    const swatch = label.querySelector("svg");
    swatch.style.display = byClass ? "" : "none";
    const [colour, shape] = STYLES[value % STYLES.length];
    swatch.firstChild.setAttribute("d", SHAPES[shape]);
    swatch.firstChild.setAttribute("fill", colour);
    const own = rows.filter((index) => data.true[index] === value);
    label.querySelector(".count").textContent = own.length;
  });
  const mark = ([colour, shape], text) => `<svg viewBox="-8 -8 16 16" aria-hidden="true"><path d="${SHAPES[shape]}" fill="${colour}"/></svg> ${text}`;
  element("key").innerHTML = state.colour === "outcome" ? `${mark(RIGHT, "right")} &nbsp; ${mark(WRONG, "wrong")}`
    : state.colour === "cluster" ? STYLES.slice(0, Math.max(...data.clusters) + 1).map((style, k) => mark(style, `cluster ${k}`)).join(" &nbsp; ")
    : KEYS[state.colour];
}

/* The most confident first: among the wrong ones these are the ones to look at. */
const surestFirst = () => {
  const confidence = (index) => data.approaches[state.approach].probabilities[index * data.classes.length + Math.max(0, predicted(index))];
  return rows.filter(isShown).sort((a, b) => confidence(b) - confidence(a));
};

function drawGallery() {
  const shown = surestFirst();
  const right = shown.filter(isRight).length;
  element("shown").textContent = `${shown.length.toLocaleString("en")} galaxies shown, ${right.toLocaleString("en")} of them recognised`;
  element("gallery").replaceChildren(...shown.slice(0, state.pages * PAGE).map((index) => thumbButton(index, 72)));
  element("more").hidden = shown.length <= state.pages * PAGE;
}

function draw() {
  Plotly.react("map", traces(), layout(), CONFIG);
  drawKeys();
  drawGallery();
  choose(state.chosen);
}

const readControls = () => {
  state.approach = element("approach").selectedIndex;
  for (const name of ["projection", "colour", "outcome", "predicted"]) state[name] = element(name).value;
  state.classes = new Set([...element("classes").querySelectorAll("input:checked")].map((input) => Number(input.value)));
  state.pages = 1;
};

/* The galaxies in a box "x,x,y,y,map", the map being that on which it was drawn; null is no box. */
const readFrame = (frame) => {
  const [left, right, low, high, projection] = frame?.split(",") ?? [];
  const places = data.maps[projection];
  const inside = (value, one, other) => (value - one) * (value - other) <= 0;
  state.frame = places ? frame : null;
  state.box = places ? new Set(rows.filter((index) => inside(places.x[index], left, right) && inside(places.y[index], low, high))) : null;
};

/* A link may say what to show, such as #approach=custom_cnn&true=3&predicted=5. */
const readAddress = () => {
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const name of ["approach", "projection", "colour", "outcome", "predicted"]) {
    if (wanted.has(name) && [...element(name).options].some((option) => option.value === wanted.get(name))) element(name).value = wanted.get(name);
  }
  const classes = wanted.get("true")?.split(",");
  if (classes) for (const input of element("classes").querySelectorAll("input")) input.checked = classes.includes(input.value);
  readControls();
  readFrame(wanted.get("box"));
  state.lacking = null;
  if (!wanted.has("row")) return;
  const index = data.rows.indexOf(Number(wanted.get("row")));
  [state.chosen, state.lacking] = index < 0 ? [null, wanted.get("row")] : [index, null];
};

/* And the address says what is shown, for others to see the same. */
const writeAddress = () => {
  const said = new URLSearchParams();
  for (const name of ["approach", "projection", "colour", "outcome", "predicted"]) said.set(name, element(name).value);
  if (state.classes.size < data.classes.length) said.set("true", [...state.classes].join(","));
  if (state.frame !== null) said.set("box", state.frame);
  if (state.chosen !== null || state.lacking !== null) said.set("row", state.lacking ?? data.rows[state.chosen]);
  history.replaceState(null, "", `#${said}`);
};

const nextTowards = (key) => {
  const { x, y } = data.maps[state.projection];
  const shown = rows.filter(isShown);
  if (state.chosen === null) return shown[0] ?? null;
  const across = key === "ArrowLeft" || key === "ArrowRight", sign = key === "ArrowRight" || key === "ArrowUp" ? 1 : -1;
  let best = state.chosen, nearest = Infinity;
  for (const index of shown) {
    const dx = x[index] - x[state.chosen], dy = y[index] - y[state.chosen];
    const along = sign * (across ? dx : dy), aside = Math.abs(across ? dy : dx);
    const distance = dx * dx + dy * dy;
    if (along > 0 && along >= aside && distance < nearest) [best, nearest] = [index, distance];
  }
  return best;
};

const map = element("map");
readAddress();
if (state.lacking === null) state.chosen ??= surestFirst()[0] ?? null;
Plotly.newPlot(map, traces(), layout(), CONFIG).then(() => {
  map.on("plotly_hover", (event) => showDetail(event.points[0].customdata));
  map.on("plotly_unhover", () => showDetail(state.chosen));
  map.on("plotly_selected", (event) => {
    if (!event?.range) return;
    readFrame([...event.range.x, ...event.range.y].map((edge) => edge.toFixed(1)).concat(state.projection).join(","));
    draw();
  });
  for (const end of ["plotly_deselect", "plotly_doubleclick"]) map.on(end, () => { readFrame(null); draw(); });
  map.on("plotly_click", (event) => choose(event.points[0].customdata));
  draw();
});
map.addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow")) return;
  event.preventDefault();
  choose(nextTowards(event.key));
});
const form = document.querySelector(".controls");
form.addEventListener("change", () => { readControls(); draw(); });
form.addEventListener("reset", () => setTimeout(() => {
  for (const input of element("classes").querySelectorAll("input")) input.checked = true;
  readFrame(null);
  readControls();
  state.chosen = surestFirst()[0] ?? null;
  draw();
  const { xaxis, yaxis } = layout();
  Plotly.relayout(map, { "xaxis.range": xaxis.range, "yaxis.range": yaxis.range });
}));
form.addEventListener("submit", (event) => event.preventDefault());
element("classes").addEventListener("change", () => { readControls(); draw(); });
element("more").addEventListener("click", () => { state.pages += 1; drawGallery(); });
addEventListener("hashchange", () => { readAddress(); draw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
