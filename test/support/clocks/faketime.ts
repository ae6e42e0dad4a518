/** The environment by which faketime sets the clock of this process, for processes that get another one; empty without faketime. */
export const faketimeVariables: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value = ""]) =>
    name === "LD_PRELOAD" || name.startsWith("FAKETIME") ? [[name, value]] : [],
  ),
);
