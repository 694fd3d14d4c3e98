// The requests to the service as they arrive, and one of them with its bodies.

import * as actions from "./actions.js";
import { formButton } from "./action_dialog.js";
import { element, openDialog, setAttribute, setText } from "./dom.js";
import { read } from "./emulator.js";
import { model, requests } from "./model.js";
import * as time from "./time.js";
import { VirtualList } from "./virtual_list.js";

const nameOf = (request) => request.method ?? `${request.http_method} ${request.path}`;

function statusOf(request) {
  if (!request.done) return "…";
  return request.status === null ? "broken off" : String(request.status);
}

function kindOf(request) {
  if (!request.done) return "pending";
  return request.status === null || request.status >= 500 ? "failed" : request.status >= 400 ? "refused" : "ok";
}

/** Fills the view. Returns what draws it again. */
export function requestsView(target) {
  const search = element("input", {
    type: "search",
    class: "search",
    placeholder: "Search methods, statuses, codes, numbers",
    "aria-label": "Search requests",
    input: () => draw(),
  });
  const method = element("select", { "aria-label": "Method", change: () => draw() }, element("option", { value: "" }, "any method"));
  const onlyErrors = element("input", { type: "checkbox", id: "only-errors", change: () => draw() });
  const list = new VirtualList({
    label: "Requests, newest first",
    makeRow: requestRow,
    keyOf: (request) => request.number,
    nameOf: (request) => `Request ${request.number}, ${nameOf(request)}, ${statusOf(request)}${request.code ? ` ${request.code}` : ""}`,
    onOpen: openRequest,
    rowHeight: () => (matchMedia("(max-width: 700px)").matches ? 50 : 32),
    emptyText: "No requests yet. Point a client at this address.",
  });
  target.append(
    element("div", { class: "bar" }, search, method,
      element("span", { class: "check" }, onlyErrors, element("label", { for: "only-errors" }, "errors only")),
      formButton(actions.forgetRequests, { label: "Clear…" })),
    element("div", { class: "request-row head", "aria-hidden": "true" },
      element("span", {}, "Request"), element("span", {}, "Time"), element("span", {}, "Method"), element("span", {}, "Status"), element("span", {}, "Duration")),
    list.element,
  );

  function draw() {
    if (method.options.length === 1 && model.methods.length) {
      method.append(...[...model.methods, "logs"].map((name) => element("option", { value: name }, name)));
    }
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.show(
      requests().filter((request) => {
        if (method.value && request.method !== method.value) return false;
        if (onlyErrors.checked && ["ok", "pending"].includes(kindOf(request))) return false;
        const text = `#${request.number} ${nameOf(request)} ${statusOf(request)} ${request.code ?? ""}`.toLowerCase();
        return words.every((word) => text.includes(word));
      }),
    );
  }
  return { draw, search };
}

function requestRow() {
  const number = element("span", { class: "mono dim" });
  const at = element("span", { class: "mono" });
  const name = element("span", { class: "name" });
  const status = element("span", { class: "status" });
  const took = element("span", { class: "mono dim took" });
  const row = element("div", { class: "request-row row" }, number, at, name, status, took);
  const update = (request) => {
    setText(number, `#${request.number}`);
    setText(at, time.timeOfDay(request.at));
    setText(name, nameOf(request));
    setText(status, `${statusOf(request)}${request.code ? ` ${request.code}` : ""}${request.fault ? ` (fault ${request.fault})` : ""}`);
    setAttribute(status, "data-kind", kindOf(request));
    setText(took, request.done ? `${request.milliseconds.toFixed(1)} ms` : "");
  };
  return { element: row, update };
}

async function openRequest(request) {
  const facts = [
    ["Method", nameOf(request)],
    ["Path", `${request.http_method} ${request.path}`],
    ["Emulated time", time.moment(request.at)],
    ["Status", `${statusOf(request)}${request.code ? ` ${request.code}` : ""}`],
    ["Duration", request.done ? `${request.milliseconds.toFixed(1)} ms` : ""],
    ["Fault", request.fault ? `fault ${request.fault}` : ""],
  ].filter(([, value]) => value);
  const bodies = element("div", {}, element("p", { class: "dim" }, "Loading …"));
  openDialog(`Request ${request.number}`, {},
    element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)])),
    bodies);
  try {
    const found = await read(`requests/${request.number}`);
    bodies.replaceChildren(
      ...(found.query.length ? [element("h3", {}, "Query"), headers(Object.fromEntries(found.query))] : []),
      ...part("Request", found.request),
      ...part("Response", found.response),
    );
  } catch (error) {
    const text = error.status === 404 ? "Its bodies are not kept: they are for the latest requests only, and while a page is open." : error.message;
    bodies.replaceChildren(element("p", { class: "dim" }, text));
  }
}

function part(title, { headers: lines, text, length, truncated, note, secret }) {
  const notes = [`${length} bytes`, text === null ? "" : note, truncated ? "cut off here" : ""].filter(Boolean).join(", ");
  const body = secret
    ? element("p", { class: "dim" }, "The body holds a token and is not kept.")
    : element("pre", { class: "raw", tabindex: "0", "aria-label": `Body of the ${title.toLowerCase()}` }, text ?? note);
  return [element("h3", {}, title, " ", element("small", { class: "dim" }, secret ? "" : notes)), headers(lines), body];
}

function headers(lines) {
  return element("dl", { class: "facts small" }, ...Object.entries(lines).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
