// Runs a Python script in Pyodide: node run.mjs PYODIDE SCRIPT FOLDER...
// The folders are seen by Python at the same paths and are where it imports from.
const [pyodide, script, ...folders] = process.argv.slice(2);
const { loadPyodide } = await import(`${pyodide}/pyodide.mjs`);
try {
  const python = await loadPyodide({ indexURL: `${pyodide}/`, env: { HOME: "/home/pyodide" } });
  for (const folder of folders) {
    python.FS.mkdirTree(folder);
    python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, folder);
  }
  python.globals.set("folders", python.toPy(folders));
  python.globals.set("script", script);
  await python.runPythonAsync(
    "import runpy, sys; sys.path[:0] = folders; sys.dont_write_bytecode = True\n" +
      "_ = runpy.run_path(script, run_name='__main__')",
  );
} catch (error) {
  console.error(String(error.message).slice(-4000)); // the script of Pyodide, in the trace, is one long line
  process.exit(1);
}
