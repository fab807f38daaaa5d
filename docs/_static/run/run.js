// Makes the blocks of Python on a page editable, with a button to run each of them in the browser.
// Nothing is loaded before the first click.
"use strict";

const HERE = document.currentScript.src;
const HINT = "Runs in your browser. The first time it loads Python (Pyodide, some 15 MB) from cdn.jsdelivr.net.";
const blocks = []; // {code, button, output, ran}, in the order of the page
let worker = null;
let waiting = null; // what takes the worker's answer: {id, resolve}
let status = () => {};
let count = 0;

function startWorker() {
  const python = new Worker(new URL("worker.js", HERE));
  python.onmessage = ({ data }) => {
    if (data.status) status(data.status);
    else if (waiting?.id === data.id) waiting.resolve(data);
  };
  python.onerror = (event) => {
    event.preventDefault();
    waiting?.resolve({ failed: event.message || "the worker could not be started" });
  };
  const root = document.documentElement.dataset.content_root ?? "./";
  const path = decodeURI(location.pathname).slice(decodeURI(new URL(root, location).pathname).length);
  python.postMessage({ folder: path.split("/").slice(0, -1).join("/") });
  return python;
}

function stopWorker() {
  worker?.terminate();
  worker = null;
  for (const block of blocks) block.ran = false; // what they defined is gone
  waiting?.resolve({ stopped: true });
}

function runCode(code) {
  worker ??= startWorker();
  const id = ++count;
  return new Promise((resolve) => {
    waiting = { id, resolve };
    worker.postMessage({ id, code });
  });
}

function textElement(text, className) {
  const element = document.createElement("pre");
  element.className = className;
  element.textContent = text;
  return element;
}

// HTML that a block makes may hold scripts: it gets a frame that can do nothing to the page.
function framed(html) {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.title = "Output of the block";
  const style = "<style>:root{color-scheme:light dark} body{margin:0;font-family:sans-serif} svg{max-width:100%;height:auto}</style>";
  const tell = "<script>new ResizeObserver(() => parent.postMessage({height: document.documentElement.scrollHeight}, '*')).observe(document.documentElement)</scr" + "ipt>";
  frame.srcdoc = `<!DOCTYPE html>${style}${html}${tell}`;
  return frame;
}

addEventListener("message", (event) => {
  const frames = document.querySelectorAll(".run-output iframe");
  const frame = [...frames].find((each) => each.contentWindow === event.source);
  const height = Number(event.data?.height);
  if (frame && height > 0) frame.style.height = `${Math.min(height, 2000) + 4}px`;
});

function show(block, answer) {
  const { output } = block;
  output.replaceChildren();
  if (answer.stopped) output.append(textElement("Stopped. What the blocks had defined is gone.", "run-status"));
  if (answer.failed) output.append(textElement(`This could not be run here: ${answer.failed}`, "run-error"));
  for (const [kind, text] of answer.parts ?? []) {
    if (kind === "html") output.append(framed(text));
    else if (kind === "image") {
      const image = new Image();
      image.src = `data:image/png;base64,${text}`;
      image.alt = "The figure that the block draws";
      output.append(image);
    } else output.append(textElement(text, kind === "error" ? "run-error" : "run-text"));
  }
  if (!output.hasChildNodes()) output.append(textElement("Done.", "run-status"));
}

// Runs a block, after those above it that have not run: they define what it uses.
async function run(chosen) {
  const due = blocks.slice(0, blocks.indexOf(chosen)).filter((block) => !block.ran);
  for (const block of blocks) block.button.disabled = block !== chosen;
  chosen.button.textContent = "Stop";
  chosen.busy = true;
  status = (text) => chosen.output.replaceChildren(textElement(text, "run-status"));
  status("Starting …");
  for (const block of [...due, chosen]) {
    const answer = await runCode(block.code.innerText.replaceAll("\u00a0", " "));
    const failed = answer.failed || answer.stopped || answer.parts.some(([kind]) => kind === "error");
    block.ran = !failed;
    if (failed || block === chosen) {
      if (block !== chosen) chosen.output.replaceChildren(textElement("A block above failed.", "run-error"));
      show(answer.stopped ? chosen : block, answer);
      if (failed && answer.failed) stopWorker(); // the next try starts anew
      break;
    }
  }
  for (const block of blocks) block.button.disabled = false;
  chosen.button.textContent = "Run";
  chosen.busy = false;
}

function prepare(highlight) {
  const code = highlight.querySelector("pre");
  code.contentEditable = "plaintext-only";
  if (code.contentEditable !== "plaintext-only") code.contentEditable = "true";
  code.spellcheck = false;
  code.setAttribute("role", "textbox");
  code.setAttribute("aria-multiline", "true");
  code.setAttribute("aria-label", "Python code, which you can change");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "run-button";
  button.textContent = "Run";
  button.title = HINT;
  const output = document.createElement("div");
  output.className = "run-output";
  output.setAttribute("role", "status");
  highlight.after(button, output);
  const block = { code, button, output, ran: false, busy: false };
  button.addEventListener("click", () => (block.busy ? stopWorker() : run(block)));
  code.addEventListener("input", () => {
    for (const each of blocks.slice(blocks.indexOf(block))) each.ran = false;
  });
  code.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!button.disabled && !block.busy) run(block);
    }
  });
  blocks.push(block);
}

for (const highlight of document.querySelectorAll("article .highlight-ipython3, article .highlight-python")) {
  prepare(highlight);
}
