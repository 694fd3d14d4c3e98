// A call as code that does the same: for a shell with curl, and for Python.

import { ADDRESS, tokens } from "./emulator.js";

// Characters that do not show, or change the direction of what follows: code that hides them would mislead its reader.
const INVISIBLE = /[\u007f-\u00a0\u00ad\u0600-\u0605\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff\ufff9-\ufffb]/g;

const escaped = (text) => text.replace(INVISIBLE, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** One argument of a POSIX shell. */
export function shellQuoted(text) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A value as a Python literal. Escapes of JSON strings mean the same in Python. */
export function pythonLiteral(value) {
  if (value === null || value === undefined) return "None";
  if (value instanceof Source) return value.code;
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return escaped(JSON.stringify(value));
  if (Array.isArray(value)) {
    return value.length === 1 ? `(${pythonLiteral(value[0])},)` : `(${value.map(pythonLiteral).join(", ")})`;
  }
  if (typeof value === "object") {
    const items = Object.entries(value).map(([key, item]) => `${pythonLiteral(key)}: ${pythonLiteral(item)}`);
    return `{${items.join(", ")}}`;
  }
  return String(value);
}

/** Python code among literals, and the names that it needs to import, each `module.name`. */
export class Source {
  constructor(code, ...imports) {
    this.code = code;
    this.imports = imports;
  }
}

/** `function(positional, keyword=value)`, without keywords that are undefined. */
export function pythonCall(name, positional = [], keywords = {}) {
  const given = Object.entries(keywords).filter(([, value]) => value !== undefined);
  const parts = [...positional.map(pythonLiteral), ...given.map(([key, value]) => `${key}=${pythonLiteral(value)}`)];
  const imports = [...positional, ...given.map(([, value]) => value)].flatMap((value) =>
    value instanceof Source ? value.imports : [],
  );
  return new Source(`${name}(${parts.join(", ")})`, ...imports);
}

/** The command with curl. Tokens stay in the environment of its reader. */
export function asCurl(call) {
  const words = ["curl", "--fail-with-body"];
  if (call.method !== "GET" && call.method !== "POST") words.push("--request", call.method);
  if (call.method === "POST" && call.body === undefined) words.push("--request", "POST");
  const parts = [words.join(" "), shellQuoted(`${ADDRESS}${call.path}`)];
  if (call.plane === "service") {
    parts.push(tokens.get("service") ? `--header "Authorization: Bearer $GITPOD_API_KEY"` : `--header 'Authorization: Bearer page'`);
  } else if (tokens.get("control plane")) {
    parts.push(`--header "Authorization: Bearer $PREBUILDS_CONTROL_TOKEN"`);
  }
  const file = call.file ? shellQuoted(call.file) : "";
  if (call.body !== undefined) {
    parts.push("--header 'Content-Type: application/json'", `--data-raw ${shellQuoted(escaped(JSON.stringify(call.body)))}`);
  } else if (call.method === "PUT") {
    parts.push("--header 'Content-Type: application/json'", `--data-binary @${file}`);
  } else if (call.method === "POST") {
    parts.push("--header 'X-Prebuilds-Emulator: 1'");
  } else if (file) {
    parts.push(`--output ${file}`);
  }
  return parts.join(" \\\n  ");
}

/** The program in Python. */
export function asPython(call) {
  const source = call.python;
  const names = new Map();
  const add = (path) => {
    const at = path.lastIndexOf(".");
    const [module, name] = [path.slice(0, at), path.slice(at + 1)];
    names.set(module, [...new Set([...(names.get(module) ?? []), name])]);
  };
  source.imports.forEach(add);
  const address = pythonLiteral(ADDRESS);
  let head;
  if (call.plane === "service") {
    add("prebuilds.PrebuildClient");
    // With a token of one's own, the client takes it from GITPOD_API_KEY.
    const token = tokens.get("service") ? "" : `, bearer_token="page"`;
    head = `with PrebuildClient(base_url=${address}${token}) as client:`;
  } else {
    add("prebuilds.emulator.EmulatorControl");
    const isProtected = tokens.get("control plane");
    if (isProtected) add("os.environ");
    head = `with EmulatorControl(${address}${isProtected ? `, token=environ["PREBUILDS_CONTROL_TOKEN"]` : ""}) as control:`;
  }
  // The standard library comes first, and modules are in the order of their names.
  const isOurs = (module) => module.startsWith("prebuilds");
  const modules = [...names.keys()].sort((one, other) => isOurs(one) - isOurs(other) || (one < other ? -1 : 1));
  const lines = modules.map((module) =>
    names.get(module).includes("*") ? `import ${module}` : `from ${module} import ${names.get(module).sort().join(", ")}`,
  );
  return [...lines, "", head, `    ${source.code}`].join("\n");
}
