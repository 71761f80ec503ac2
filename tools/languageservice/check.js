// Runs GitHub's own validator over workflow and action files, and prints what it finds as
// `file:line:column: message`. Unlike actionlint it knows `$/` and looks inside composite actions.
//
//   node languageservice.cjs --ours DIR --slug OWNER/NAME FILE...
//
// `$/path` and `OWNER/NAME/path@ref` are both read from DIR, so a generated repository is checked
// against the workflows of this checkout. Inputs of others' actions are not known here.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { registerLogger, validate } from "@actions/languageservice";
import { TextDocument } from "vscode-languageserver-textdocument";
import { parse } from "yaml";

const { values, positionals } = parseArgs({
  options: { ours: { type: "string" }, slug: { type: "string" } },
  allowPositionals: true,
});
if (!values.ours || !values.slug || positionals.length === 0) {
  console.error("usage: languageservice.cjs --ours DIR --slug OWNER/NAME FILE...");
  process.exit(2);
}

let found = 0;
function report(text) {
  found += 1;
  console.log(text);
}

// The validator logs its own crashes and goes on; a file that crashed it was not checked.
const silent = () => {};
registerLogger({ error: report, warn: report, info: silent, log: silent });

function isOurs(reference) {
  return `${reference.owner}/${reference.repository ?? reference.name}` === values.slug;
}

async function readOurs(path) {
  return { name: path, content: await readFile(join(values.ours, path), "utf8") };
}

const config = {
  fileProvider: {
    async getFileContent(reference) {
      if ("repository" in reference && !isOurs(reference)) {
        throw new Error(`${reference.owner}/${reference.repository} is not this repository`);
      }
      return readOurs(reference.path);
    },
  },
  actionsMetadataProvider: {
    async fetchActionMetadata(action) {
      if (!isOurs(action)) {
        return {};
      }
      const file = await readOurs(join(action.path ?? "", "action.yml")).catch(() => undefined);
      return file && parse(file.content);
    },
  },
};

async function main() {
  for (const path of positionals) {
    const text = await readFile(path, "utf8");
    const document = TextDocument.create(path, "yaml", 1, text);
    for (const { message, range } of await validate(document, config)) {
      report(`${path}:${range.start.line + 1}:${range.start.character + 1}: ${message}`);
    }
  }
  process.exitCode = found === 0 ? 0 : 1;
}

main();
