// The stream of events, over fetch: EventSource cannot send a token.

import { authorization, urlOf } from "./emulator.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 5000;
const LONGEST_SILENCE = 40000; // the emulator sends something at least every 15 s

/**
 * Follows the events, and resumes after the last one whenever the stream ends.
 * `onState` gets "live", "lost", "full" or "locked"; after "locked" it resolves when there is a token to try.
 */
export async function follow({ onEvent, onState }) {
  let lastEventId = "";
  let pause = FIRST_PAUSE;
  const seen = (event) => {
    pause = FIRST_PAUSE;
    // The events of a snapshot have no id: if it breaks off, there is nothing to resume.
    if (event.name === "snapshot") lastEventId = "";
    if (event.id) lastEventId = event.id;
    onEvent(event.name, event.data);
  };
  for (;;) {
    let status = 0;
    try {
      status = await once(lastEventId, seen, () => onState("live"));
    } catch {
      // The connection is lost, which the next attempt is for.
    }
    if (status === 401) {
      await onState("locked");
      continue;
    }
    onState(status === 503 ? "full" : "lost");
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

async function once(lastEventId, onEvent, onOpen) {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), LONGEST_SILENCE);
  try {
    const response = await fetch(urlOf("_emulator/page/events"), {
      headers: { ...authorization("control plane"), ...(lastEventId ? { "Last-Event-ID": lastEventId } : {}) },
      cache: "no-store",
      signal: abort.signal,
    });
    if (!response.ok) return response.status;
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return response.status;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), LONGEST_SILENCE);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) parse(block, onEvent);
    }
  } finally {
    clearTimeout(timer);
  }
}

function parse(block, onEvent) {
  const event = { name: "", id: "", data: "" };
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    const field = line.slice(0, at);
    if (field === "event") event.name = line.slice(at + 2);
    else if (field === "id") event.id = line.slice(at + 2);
    else if (field === "data") event.data = line.slice(at + 2);
  }
  if (event.name) onEvent({ ...event, data: JSON.parse(event.data) });
}
