// Python beside the page, in a thread of its own: Pyodide, with the library and the data of the examples.
// Messages in: {folder} once, then {id, code}. Messages out: {status}, or {id, parts} and {id, failed}.
const VERSION = "0.27.7"; // tests/webassembly/compare.py trains with the same
const PYODIDE = `https://cdn.jsdelivr.net/pyodide/v${VERSION}/full/`;
const ROOT = "/home/pyodide/nnbackend";

async function start(folder) {
  postMessage({ status: "Loading Python …" });
  importScripts(`${PYODIDE}pyodide.js`);
  const python = await loadPyodide({ indexURL: PYODIDE });
  postMessage({ status: "Loading NumPy and nnbackend …" });
  const files = await fetch(new URL("nnbackend.zip", self.location));
  if (!files.ok) throw new Error(`nnbackend.zip: ${files.status} ${files.statusText}`);
  python.unpackArchive(await files.arrayBuffer(), "zip", { extractDir: ROOT });
  await python.loadPackage("numpy", { messageCallback: () => {} });
  const setup = await (await fetch(new URL("shown.py", self.location))).text();
  const place = JSON.stringify(`${ROOT}/docs/${folder}`);
  python.runPython(`import os, sys; sys.path.insert(0, "${ROOT}"); os.makedirs(${place}, exist_ok=True); os.chdir(${place})`);
  python.runPython(setup);
  return python;
}

let python;
self.onmessage = async ({ data }) => {
  if ("folder" in data) {
    python = start(data.folder);
    python.catch(() => {}); // told with the first block
    return;
  }
  try {
    const ready = await python;
    postMessage({ status: "Running …" });
    await ready.loadPackagesFromImports(data.code, { messageCallback: () => {} });
    const run = ready.globals.get("run_block");
    postMessage({ id: data.id, parts: JSON.parse(run(data.code)) });
    run.destroy();
  } catch (error) {
    postMessage({ id: data.id, failed: String(error.message ?? error) });
  }
};
