// The emulated time, and times and durations as a person reads them.

let known = { now: 0, speed: 60, frozen: true, at: 0 };

/** Takes over what the emulator says of its clock. */
export function setClock(clock) {
  known = { ...clock, at: performance.now() };
}

/** What the emulator last said of its clock. */
export function clock() {
  return known;
}

/** The emulated time, in milliseconds since 1970. */
export function now() {
  return known.frozen ? known.now : known.now + (performance.now() - known.at) * known.speed;
}

/** `2030-01-01 12:00:05`, in UTC. */
export function moment(milliseconds) {
  return new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ");
}

/** `12:00:05`, in UTC. */
export function timeOfDay(milliseconds) {
  return new Date(milliseconds).toISOString().slice(11, 19);
}

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** `2 h 5 min`: the two greatest units. */
export function duration(seconds) {
  let left = Math.max(0, Math.round(seconds));
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    if (count || (parts.length && parts.length < 2)) parts.push(`${count} ${unit}`);
    left -= count * size;
    if (parts.length === 2) break;
  }
  return parts.filter((part) => !part.startsWith("0 ")).join(" ") || "0 s";
}
