// A function of the page's modules for the tests in Python: module, name and arguments as JSON.
import { readFileSync } from "node:fs";

const [module, name, values] = JSON.parse(readFileSync(0, "utf8"));
const made = (await import(`../../src/embedding_collapse/book/live/${module}.js`))[name](...values);
console.log(JSON.stringify(made, (_, it) => (ArrayBuffer.isView(it) ? Array.from(it) : it)));
