"use strict";
// The drawing ---------------------------------------------------------------------------------

function prepareDrawing() {
  const svg = document.querySelector("#drawing svg");
  if (data.style !== "circles") return;
  svg.setAttribute("role", "group");
  cutLegend(svg);
  for (const group of svg.querySelectorAll("[data-item]")) {
    const key = group.dataset.item;
    if (!data.items[key]) continue;
    if (!drawn.has(key)) drawn.set(key, []);
    drawn.get(key).push(group);
    group.addEventListener("click", () => choose(key));
    const line = group.querySelector("line.positive,line.negative,line.line");
    if (group.classList.contains("weight") && line) {
      const hit = shape("line", {class: "hit"});
      for (const name of ["x1", "y1", "x2", "y2"]) hit.setAttribute(name, line.getAttribute(name));
      group.append(hit);
    }
    if (group.classList.contains("neuron")) {
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.addEventListener("keydown", event => moveBetween(event, key));
    }
  }
}

// The legend of a drawing on paper is about one step; below the drawing stands that of each step.
function cutLegend(svg) {
  const legend = svg.querySelector(".legend");
  const [left, top, width] = svg.getAttribute("viewBox").split(" ").map(Number);
  const height = Number(legend.querySelector("text").getAttribute("y")) - 13;
  legend.remove();
  svg.setAttribute("viewBox", `${left} ${top} ${width} ${height}`);
  svg.querySelector("rect.back").setAttribute("height", height);
  svg.setAttribute("height", height);
  find("key").hidden = false;
}

function showKey(largest) {
  const key = data.steps[state.step].key;
  const what = key === "adjustment" ? "gradient" : key === "update" ? "weight after the update" : "weight";
  find("key").replaceChildren("Line: ", element("b"), `positive ${what}, `, element("b", {class: "negative"}), `negative; the wider the larger, up to ${digits(largest)}. In a circle: the sum, below it the result.`);
}

function moveBetween(event, key) {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(key); return; }
  const [, column, unit] = key.split(":").map(Number);
  const moves = {ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0]};
  if (!moves[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  const [across, down] = moves[event.key];
  let wanted = `neuron:${column + across}:${unit + down}`;
  if (!drawn.has(wanted) && across) wanted = `neuron:${column + across}:0`;
  drawn.get(wanted)?.[0].focus();
}

function write(group, selector, text) {
  const node = group.querySelector(selector);
  if (!node) return;
  node.classList.toggle("unknown", text === "");
  if (text !== "") node.textContent = text;
}

function drawNeuron(group, item) {
  const known = what => { const place = placeOf(item, what); return place === undefined ? "" : digits(value(place)); };
  write(group, "text.sum", known("sum"));
  write(group, "text.result", known("result"));
  const labels = [...group.querySelectorAll("text.gradient")];
  const shown = labels.length === 2 ? ["error", "delta"] : item.numbers.delta ? ["delta"] : ["error"];
  labels.forEach((label, i) => {
    const text = known(shown[i]);
    label.classList.toggle("unknown", text === "");
    if (text !== "") label.textContent = `${shown[i]} ${text}`;
    const back = label.previousElementSibling;
    if (back?.tagName === "rect") {
      back.classList.toggle("unknown", text === "");
      const middle = Number(label.getAttribute("x")), wide = label.getComputedTextLength() + 6;
      back.setAttribute("x", middle - wide / 2);
      back.setAttribute("width", wide);
    }
  });
  const title = group.querySelector("title");
  const facts = Object.keys(item.numbers).map(what => [what, known(what)]).filter(([, text]) => text);
  const text = [item.name, ...facts.map(fact => fact.join(" "))].join(", ");
  if (title) title.textContent = text;
  group.setAttribute("aria-label", text);
}

// What a line stands for at the step: the weight, its gradient, or the weight after the update.
function lineNumber(item) {
  const key = data.steps[state.step].key;
  return placeOf(item, key === "adjustment" ? "gradient" : key === "update" ? "after" : "value", true);
}

function drawWeight(group, item, largest) {
  const number = value(lineNumber(item));
  const line = group.querySelector("line:not(.hit)"), text = group.querySelector("text.value");
  if (line) {
    line.setAttribute("class", number < 0 ? "negative" : number > 0 ? "positive" : "line");
    line.setAttribute("stroke-width", 0.6 + 4.4 * (largest ? Math.abs(number) / largest : 0));
  }
  if (text) {
    text.textContent = digits(number);
    const back = text.previousElementSibling, wide = text.getComputedTextLength() + 5;
    back.setAttribute("width", wide);
    back.setAttribute("x", Number(text.getAttribute("x")) - wide / 2);
  }
  const title = group.querySelector("title");
  if (title) title.textContent = `${item.name}: ${digits(number)}`;
}

function draw() {
  const column = data.steps[state.step].column;
  const lines = [...drawn.keys()].filter(key => !key.startsWith("neuron"));
  const sizes = lines.map(key => Math.abs(value(lineNumber(data.items[key])))).filter(Number.isFinite);
  const largest = Math.max(0, ...sizes);
  if (drawn.size) showKey(largest);
  for (const [key, groups] of drawn) {
    const item = data.items[key];
    for (const group of groups) {
      group.classList.toggle("chosen", key === state.item);
      group.classList.toggle("active", item.column === column && key.startsWith("neuron"));
      if (group.classList.contains("neuron")) drawNeuron(group, item);
      else drawWeight(group, item, largest);
    }
  }
}

// Layers that are not circles: their units as buttons, their images as pixels ------------------

function buildLayers() {
  const box = find("layers"), circles = data.style === "circles";
  const columns = [...new Set([...data.images.map(image => image.column), ...(circles ? [] : data.layers.map(layer => layer.column))])];
  for (const column of columns.sort((a, b) => a - b)) {
    const layer = data.layers.find(one => one.column === column);
    const part = element("div", {class: "layer", "data-column": column});
    part.append(element("h3", {}, layer ? layer.text : "input"));
    if (layer && layer.note && !circles) part.append(element("p", {class: "faint"}, layer.note));
    const pictures = element("div", {class: "images"});
    data.images.forEach((image, i) => { if (image.column === column) pictures.append(buildImage(image, i)); });
    if (pictures.children.length) part.append(pictures);
    const cells = element("div", {class: "cells"});
    if (!circles) for (const key of layer?.items ?? []) cells.append(buildCell(key));
    if (cells.children.length) part.append(cells);
    if (layer && !circles) part.append(element("p", {class: "facts faint", "data-summary": column}));
    box.append(part);
  }
}

function buildCell(key) {
  const item = data.items[key];
  const label = item.name.replace(/ of layer .*$/, "");
  return element("button", {type: "button", "data-cell": key, "aria-pressed": "false", click: () => choose(key)},
    element("small", {}, label), element("span", {class: "cell-number"}));
}

function buildImage(image, i) {
  const canvas = element("canvas", {width: image.width, height: image.height});
  const frame = element(image.item ? "button" : "div", {class: "frame", "data-image": i}, canvas);
  const caption = element("figcaption", {}, image.title);
  if (image.item) {
    frame.setAttribute("type", "button");
    frame.setAttribute("aria-label", `${image.title}: choose its busiest window`);
    frame.addEventListener("click", () => choose(image.item));
  }
  frame.addEventListener("pointermove", event => {
    const box = canvas.getBoundingClientRect();
    const row = Math.min(image.height - 1, Math.max(0, Math.floor((event.clientY - box.top) / box.height * image.height)));
    const at = Math.min(image.width - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * image.width)));
    const number = value(image.numbers[state.row][row * image.width + at]);
    caption.textContent = state.step < image.from ? image.title : `row ${row}, column ${at}: ${digits(number)}`;
  });
  frame.addEventListener("pointerleave", () => { caption.textContent = image.title; });
  return element("figure", {}, frame, caption);
}

function paint(image, canvas) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, image.width, image.height);
  if (state.step < image.from) return;
  const numbers = image.numbers[state.row].map(value);
  const largest = Math.max(...numbers.map(Math.abs)) || 1;
  const style = getComputedStyle(document.documentElement);
  const colors = [style.getPropertyValue("--positive"), style.getPropertyValue("--negative")];
  numbers.forEach((number, i) => {
    context.fillStyle = `rgba(${colors[number < 0 ? 1 : 0]},${Math.abs(number) / largest})`;
    context.fillRect(i % image.width, Math.floor(i / image.width), 1, 1);
  });
}

function drawLayers() {
  const column = data.steps[state.step].column, chosen = data.items[state.item];
  const back = data.steps[state.step].key.startsWith("error") || data.steps[state.step].key.startsWith("delta");
  for (const part of document.querySelectorAll("#layers .layer")) {
    const own = Number(part.dataset.column);
    part.classList.toggle("active", own === column);
    part.classList.toggle("near", own === (column ?? data.layers.length) - 1); // a telephone shows these two
  }
  for (const cell of document.querySelectorAll("[data-cell]")) {
    const item = data.items[cell.dataset.cell];
    const place = back && placeOf(item, "delta") !== undefined ? placeOf(item, "delta") : placeOf(item, "result") ?? placeOf(item, "sum");
    const shown = cell.querySelector(".cell-number");
    shown.replaceChildren(place === undefined ? "?" : shownNumber(place));
    cell.classList.toggle("chosen", cell.dataset.cell === state.item);
    cell.setAttribute("aria-pressed", String(cell.dataset.cell === state.item));
  }
  for (const frame of document.querySelectorAll("[data-image]")) {
    const image = data.images[frame.dataset.image];
    paint(image, frame.querySelector("canvas"));
    frame.classList.toggle("chosen", Boolean(image.item) && image.item === state.item);
    frame.querySelector(".window")?.remove();
    if (chosen?.window && image.column === chosen.column - 1) {
      const [top, left, height, width] = chosen.window, mark = element("span", {class: "window"});
      mark.style.top = `${top / image.height * 100}%`;
      mark.style.left = `${left / image.width * 100}%`;
      mark.style.height = `${height / image.height * 100}%`;
      mark.style.width = `${width / image.width * 100}%`;
      frame.append(mark);
    }
  }
  for (const line of document.querySelectorAll("[data-summary]")) drawSummary(line);
}

function drawSummary(line) {
  const layer = data.layers.find(one => one.column === Number(line.dataset.summary));
  const forward = data.steps.findIndex(step => step.column === layer.column);
  const backward = data.steps.findIndex(step => step.column === layer.column && step.key.startsWith("error"));
  const known = [];
  const add = (title, first) => {
    if (!Number.isNaN(value(layer.numbers[first]))) known.push(element("span", {}, `${title}: `, shownNumber(layer.numbers[first]), " to ", shownNumber(layer.numbers[first + 2]), ", mean ", shownNumber(layer.numbers[first + 1])));
  };
  if (state.step >= forward) add("result", 0);
  if (backward >= 0 && state.step >= backward) add("error", 3);
  line.replaceChildren(...known);
}
