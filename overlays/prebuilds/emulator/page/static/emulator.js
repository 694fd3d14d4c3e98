// Calls to the emulator that serves this page: its control plane and its service.

/** The base URL of the emulator, with a slash at its end. */
export const BASE = new URL("./", document.baseURI);

/** The base URL as clients are given it. */
export const ADDRESS = BASE.href.replace(/\/$/, "");

/** A request that was refused, with the reason as its message. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The tokens that a person has given, for this tab alone. */
export const tokens = {
  get: (plane) => sessionStorage.getItem(`token of the ${plane}`) ?? "",
  set: (plane, token) => sessionStorage.setItem(`token of the ${plane}`, token),
};

/** The headers that authorise a request. */
export function authorization(plane) {
  const token = tokens.get(plane) || (plane === "service" ? "page" : "");
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** The URL of a path of the emulator. */
export function urlOf(path) {
  return new URL(path.replace(/^\//, ""), BASE);
}

/** Sends a call, and returns its response, which is in order. */
export async function send(call) {
  const body = call.content ?? (call.body === undefined ? undefined : JSON.stringify(call.body));
  const response = await fetch(urlOf(call.path), {
    method: call.method,
    headers: { ...authorization(call.plane), "Content-Type": "application/json", "X-Prebuilds-Emulator": "1" },
    body: body ?? (call.method === "POST" ? "{}" : undefined),
  });
  if (!response.ok) throw new Refusal(response.status, await reasonOf(response));
  return response;
}

/** The JSON of something that belongs to this page. */
export async function read(path) {
  const response = await fetch(urlOf(`_emulator/page/${path}`), { headers: authorization("control plane") });
  if (!response.ok) throw new Refusal(response.status, await reasonOf(response));
  return response.json();
}

async function reasonOf(response) {
  const text = await response.text();
  try {
    const found = JSON.parse(text);
    if (typeof found.message === "string") return found.code ? `${found.code}: ${found.message}` : found.message;
  } catch {
    // A planned fault may answer with anything.
  }
  return `HTTP ${response.status} ${text.slice(0, 200)}`;
}
