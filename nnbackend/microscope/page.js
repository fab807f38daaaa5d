// The page of one training step. All numbers come from the data, and are only rounded here.
const data = JSON.parse(document.getElementById("data").textContent);
const values = data.moments.map(moment => moment.values.map(Number));
const state = {step: 0, moment: values.length - 1, row: 0, item: "", all: false};
const find = id => document.getElementById(id);
const drawn = new Map(); // elements of the drawing, by item

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") made.addEventListener("click", value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function shape(tag, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// Four significant digits, as Python writes format(x, ".4g"): halves go to the even digit.
function digits(x) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
  if (x === 0) return "0";
  const [mantissa, power] = Math.abs(x).toExponential(100).split("e");
  const figures = mantissa.replace(".", "");
  let head = Number(figures.slice(0, 4)), exponent = Number(power);
  const rest = figures.slice(4), half = "5".padEnd(rest.length, "0");
  if (rest > half || (rest === half && head % 2 === 1)) head += 1;
  if (head === 10000) { head = 1000; exponent += 1; }
  const text = String(head), sign = x < 0 ? "-" : "";
  const trimmed = (whole, part) => sign + (part.replace(/0+$/, "") ? `${whole}.${part.replace(/0+$/, "")}` : whole);
  if (exponent < -4 || exponent >= 4) {
    const size = String(Math.abs(exponent)).padStart(2, "0");
    return `${trimmed(text[0], text.slice(1))}e${exponent < 0 ? "-" : "+"}${size}`;
  }
  if (exponent < 0) return trimmed("0", "0".repeat(-exponent - 1) + text);
  return trimmed(text.slice(0, exponent + 1), text.slice(exponent + 1));
}

const value = place => values[state.moment][place];

function shownNumber(place) {
  return element("span", {class: "n", "data-n": place, title: String(value(place))}, digits(value(place)));
}

// The place of one number of an item in the row that is shown; undefined before it is known.
function placeOf(item, what, always = false) {
  const places = item.numbers[what];
  if (!places || (!always && state.step < item.from[what])) return undefined;
  return places[Math.min(state.row, places.length - 1)];
}

const applies = row => row === null || row === state.row;

// Formulas ------------------------------------------------------------------------------------

function formulaLine(parts, now, name = null) {
  const line = element("div", {class: now ? "formula now" : "formula"});
  if (name) line.append(name);
  parts.forEach((part, i) => {
    const shown = typeof part === "string" ? part : shownNumber(part);
    if (typeof part !== "string" && i === parts.length - 1) shown.classList.add("result");
    line.append(shown);
  });
  return line;
}

function showStep() {
  const step = data.steps[state.step], box = find("formulas");
  find("step-title").textContent = `${state.step + 1}. ${step.title}`;
  find("step-text").textContent = step.text;
  box.replaceChildren();
  if (step.key === "row") { showInputs(box); return; }
  const own = data.formulas.filter(([at, key, row]) => at === state.step && applies(row) && key !== state.item);
  const shown = state.all ? own : own.slice(0, 9);
  let said = new Set();
  for (const [, key, , symbols, parts] of shown) {
    if (!said.has(symbols)) { box.append(element("span", {class: "symbols"}, symbols)); said.add(symbols); }
    const item = data.items[key];
    box.append(formulaLine(parts, false, item && element("button", {type: "button", class: "name", click: () => choose(key)}, item.name)));
  }
  if (own.length > 9) {
    const text = state.all ? "Show fewer" : `Show all ${own.length} formulas`;
    box.append(element("button", {type: "button", click: () => { state.all = !state.all; show(); }}, text));
  }
}

function showInputs(box) {
  const list = element("dl", {class: "facts"});
  for (const item of Object.values(data.items)) {
    const what = item.column === 0 ? "result" : item.numbers.target ? "target" : "";
    if (!what) continue;
    const name = what === "target" ? `target of ${item.name}` : item.name;
    list.append(element("div", {}, element("dt", {}, name), element("dd", {}, shownNumber(placeOf(item, what)))));
  }
  box.append(list);
}

function showChosen() {
  const box = find("chosen"), item = data.items[state.item];
  box.replaceChildren();
  if (!item) return;
  box.append(element("h2", {}, item.name));
  const facts = element("dl", {class: "facts"});
  for (const what of Object.keys(item.numbers)) {
    const place = placeOf(item, what), name = what === "value" ? "weight" : what;
    if (place !== undefined) facts.append(element("div", {}, element("dt", {}, name), element("dd", {}, shownNumber(place))));
  }
  box.append(facts);
  for (const [at, key, row, symbols, parts] of data.formulas) {
    if (key !== state.item || !applies(row) || at > state.step) continue;
    box.append(element("span", {class: "symbols"}, `${data.steps[at].title}: ${symbols}`), formulaLine(parts, at === state.step));
  }
  if (box.children.length === 2) box.append(element("p", {class: "faint"}, "Step on for its formulas."));
}

function showWeights() {
  const body = document.querySelector("#weights tbody");
  body.replaceChildren();
  if (!find("weights-details").open) return;
  for (const [key, item] of Object.entries(data.items)) {
    if (!item.numbers.value) continue;
    const cell = what => { const place = placeOf(item, what); return element("td", {}, place === undefined ? "\u2013" : shownNumber(place)); };
    const name = element("td", {}, element("button", {type: "button", click: () => choose(key)}, item.name));
    body.append(element("tr", key === state.item ? {class: "chosen"} : {}, name, cell("value"), cell("gradient"), cell("after")));
  }
}

// All together --------------------------------------------------------------------------------

function choose(key) {
  state.item = state.item === key ? "" : key;
  show();
}

function go(step) {
  state.step = Math.max(0, Math.min(data.steps.length - 1, step));
  state.all = false;
  show();
  revealActive();
}

// Bring the layer of the step into view, within the drawing and, of a long list, on the page.
function revealActive() {
  const box = find("drawing"), circle = box.querySelector(".active");
  if (circle && box.scrollWidth > box.clientWidth) {
    const own = circle.getBoundingClientRect(), frame = box.getBoundingClientRect();
    box.scrollLeft += own.left + own.width / 2 - frame.left - frame.width / 2;
  }
  const layer = document.querySelector("#layers .active");
  if (layer && innerWidth > 760) layer.scrollIntoView({block: "nearest"});
}

function show() {
  find("step").value = state.step;
  find("back").disabled = state.step === 0;
  find("next").disabled = state.step === data.steps.length - 1;
  draw();
  drawLayers();
  showStep();
  showChosen();
  showWeights();
  showMoment();
}

function start() {
  data.steps.forEach((step, i) => find("step").append(element("option", {value: i}, `${i + 1}. ${step.title}`)));
  find("step").addEventListener("change", event => go(Number(event.target.value)));
  find("back").addEventListener("click", () => go(state.step - 1));
  find("next").addEventListener("click", () => go(state.step + 1));
  for (let i = 0; i < data.rows; i += 1) find("row").append(element("option", {value: i}, String(i + 1)));
  find("rows").hidden = data.rows < 2;
  find("row").addEventListener("change", event => { state.row = Number(event.target.value); show(); });
  find("moment").max = values.length - 1;
  find("moment").addEventListener("input", event => { play(false); state.moment = Number(event.target.value); show(); });
  find("play").addEventListener("click", () => play(!timer));
  find("player").hidden = find("curve").hidden = values.length < 2;
  find("no-record").hidden = values.length > 1;
  find("weights-details").addEventListener("toggle", showWeights);
  find("notes").append(...data.notes.map(note => element("li", {}, note)));
  document.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input,select,textarea")) return;
    if (event.key === "ArrowRight") go(state.step + 1);
    else if (event.key === "ArrowLeft") go(state.step - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(data.steps.length - 1);
    else if (event.key === "Escape") choose("");
    else return;
    event.preventDefault();
  });
  matchMedia("(prefers-color-scheme:dark)").addEventListener("change", show);
  prepareDrawing();
  buildLayers();
  if (values.length > 1) buildCurve();
  show();
}

start();
