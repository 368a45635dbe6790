// Elements, and numbers as words.

export const $ = (id) => document.getElementById(id);

export function nameOf(session) {
  return session.name || `session ${session.session.slice(0, 8)}`;
}

export function readable(reason) {
  return reason.toLowerCase().replaceAll("_", " ");
}

export function whole(number) {
  return Number(number ?? 0).toLocaleString("en");
}

export function percent(ratio) {
  return `${(100 * ratio).toFixed(ratio && ratio < 0.0995 ? 1 : 0)} %`;
}

export function milliseconds(microseconds) {
  if (!microseconds) return "–";
  const ms = microseconds / 1000;
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : whole(Math.round(ms))} ms`;
}

export function clock(time) {
  return time.toLocaleTimeString("en-GB");
}

// As protobuf writes durations: "3.4s".
export function ago(duration) {
  const seconds = parseFloat(duration);
  if (seconds < 2) return "now";
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

export function setText(element, text) {
  // What is the same is not said again, to screen readers least of all.
  if (element.textContent !== text) element.textContent = text;
}

// Makes `parent`'s children those of `parts`, [tag, text, class], keeping elements that are there.
export function fill(parent, parts) {
  parts.forEach(([tag, text, kind], place) => {
    let child = parent.children[place];
    if (child?.localName !== tag) {
      const next = document.createElement(tag);
      if (child) child.replaceWith(next);
      else parent.append(next);
      child = next;
    }
    if (text || !child.children.length) setText(child, text);
    if (child.className !== (kind ?? "")) child.className = kind ?? "";
  });
  while (parent.children.length > parts.length) parent.lastChild.remove();
}

// An element for each thing, kept where its key stays, so that focus and selection stay too.
export function list(parent, things, key, update, tag = "li") {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  things.forEach((thing, place) => {
    const name = String(key(thing));
    const child = known.get(name) ?? document.createElement(tag);
    known.delete(name);
    child.dataset.key = name;
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
    update(child, thing);
  });
  known.forEach((child) => child.remove());
}

export function chosen(name) {
  return document.querySelector(`input[name="${name}"]:checked`)?.value ?? "track";
}

export function choose(name, value) {
  const input = document.querySelector(`input[name="${name}"][value="${value}"]`);
  if (input) input.checked = true;
}
