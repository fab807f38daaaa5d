// Training ------------------------------------------------------------------------------------

const curve = {};

function buildCurve() {
  const own = data.moments.map((moment, i) => [moment.step, values[i][data.loss]]);
  const known = own.filter(([step]) => step !== null).map(([step]) => step);
  const last = Math.max(...known, ...data.curve.steps), gap = last / Math.max(1, known.length - 1);
  for (const point of own) if (point[0] === null) point[0] = last + gap;
  const recorded = data.curve.steps.map((step, i) => [step, Number(data.curve.loss[i])]).filter(([, loss]) => Number.isFinite(loss));
  const all = [...own, ...recorded], losses = all.map(([, loss]) => loss).filter(Number.isFinite);
  const low = Math.min(...losses), high = Math.max(...losses), wide = Math.max(...all.map(([step]) => step)) || 1;
  const logarithmic = low > 0 && high / low > 20;
  const scale = logarithmic ? Math.log : number => number;
  const span = scale(high) - scale(low) || 1;
  // A loss that is no longer finite is at the upper edge.
  curve.at = ([step, loss]) => [step / wide * 100, !Number.isFinite(loss) ? 0 : 96 - 92 * (scale(loss) - scale(low)) / span];
  curve.own = own;
  const path = points => "M" + points.map(point => curve.at(point).map(x => x.toFixed(2)).join(",")).join("L");
  const svg = shape("svg", {viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": "The loss over the training"});
  if (recorded.length > 1) svg.append(shape("path", {class: "recorded", d: path(recorded)}));
  svg.append(shape("path", {d: path(own.filter(([, loss]) => Number.isFinite(loss)))}));
  curve.dot = element("span", {class: "dot"});
  const top = element("span", {}, digits(high)), bottom = element("span", {}, digits(low));
  const legend = element("p", {class: "legend"}, `Line: the loss of what is explained here, ${logarithmic ? "on a logarithmic scale, " : ""}from `, bottom, " to ", top, recorded.length > 1 ? ". Dashed: the training loss." : ".");
  const axis = element("div", {class: "axis"}, element("span", {}, "0"), element("span", {}, `${last.toLocaleString("en")} steps`));
  find("curve").append(element("div", {class: "plot"}, svg, curve.dot), axis, legend);
}

function showMoment() {
  if (values.length < 2) return;
  find("moment").value = state.moment;
  const text = find("moment-text");
  text.replaceChildren(`${data.moments[state.moment].label}, loss `, shownNumber(data.loss));
  find("moment").setAttribute("aria-valuetext", text.textContent);
  const [x, y] = curve.at(curve.own[state.moment]);
  curve.dot.style.left = `${x}%`;
  curve.dot.style.top = `${y}%`;
}

let timer = 0;
function play(on) {
  clearInterval(timer);
  timer = 0;
  if (on) {
    if (state.moment === values.length - 1) { state.moment = 0; show(); }
    timer = setInterval(() => {
      if (state.moment < values.length - 1) { state.moment += 1; show(); } else play(false);
    }, Math.max(60, Math.min(400, 12000 / values.length)));
  }
  find("play").setAttribute("aria-pressed", String(Boolean(timer)));
  find("play").textContent = timer ? "\u23f8 Pause" : "\u25b6 Play";
}
