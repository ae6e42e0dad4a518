const oldestMajor = 24;

// The first import of every bundle: it ends the process on an older Node before anything else runs. Imports are
// resolved before the first line runs, so no module may import a name that an older Node does not have.
if (Number.parseInt(process.versions.node, 10) < oldestMajor) {
  process.stderr.write(
    `spoa-relay needs Node ${oldestMajor} or newer, this is v${process.versions.node}; in a clone use node_modules/.bin/node\n`,
  );
  process.exit(2);
}
