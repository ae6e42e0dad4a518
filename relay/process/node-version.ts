const oldestMajor = 24;

// The bundles' first import: on an older Node it ends the process before anything else runs. That the bundles get this far
// there, no module may import by name what an older Node does not have: that is looked up before the first line runs.
if (Number.parseInt(process.versions.node, 10) < oldestMajor) {
  process.stderr.write(
    `spoa-relay needs Node ${oldestMajor} or newer, this is v${process.versions.node}; in a clone use node_modules/.bin/node\n`,
  );
  process.exit(2);
}
