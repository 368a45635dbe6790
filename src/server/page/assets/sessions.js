// Which sessions are open, and how the models are.

import { $, ago, fill, list, milliseconds, nameOf, percent, setText, whole } from "/assets/dom.js";

export const STATES = {
  STATE_SERVING: ["serving", "good"], STATE_DEGRADED: ["degraded", "warn"], STATE_WARMING: ["warming up", "warn"],
  STATE_DOWN: ["down", "bad"], STATE_DRAINING: ["stopping", "warn"],
};

// The newest first; `pick` is called with the id of one that somebody wants to see.
export function listSessions(status, picked, pick) {
  setText($("n-sessions"), status.sessions.length ? String(status.sessions.length) : "");
  list($("sessions"), status.sessions.toReversed(), (session) => session.session, (item, session) => {
    const button = item.firstChild ?? item.appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "session";
    button.dataset.session = session.session;
    button.setAttribute("aria-current", String(session.session === picked));
    button.onclick = () => pick(session.session);
    const { frames = 0, segmented = 0, dropped = 0, failed = 0 } = session.counts ?? {};
    // Before a frame was segmented nothing is known of cells.
    const isKnown = Number(segmented) > 0;
    const lost = [Number(dropped) && `${whole(dropped)} dropped`, Number(failed) && `${whole(failed)} failed`].filter(Boolean);
    fill(button, [
      ["span", nameOf(session), "name"],
      ["span", isKnown ? whole(session.cells) : "–", "big"],
      ["span", "", "fine"],
    ]);
    fill(button.lastChild, [
      ["span", session.model ?? ""],
      ["span", `${whole(frames)} ${Number(frames) === 1 ? "frame" : "frames"}`],
      ...(isKnown ? [["span", percent(session.confluence ?? 0)]] : []),
      ...(session.p95_us ? [["span", `p95 ${milliseconds(session.p95_us)}`]] : []),
      ...(session.since_last_frame ? [["span", ago(session.since_last_frame)]] : []),
      ...(lost.length ? [["span", lost.join(", "), "trouble"]] : []),
      ["span", session.peer ?? ""],
    ]);
  });
}

export function listModels(status) {
  list($("models"), status.models, (model) => model.model?.name, (item, model) => {
    const [word] = STATES[model.state] ?? ["?"];
    fill(item, [["strong", model.model?.name ?? ""], ["span", ` ${word}; ${model.lanes_up ?? 0} of ${model.lanes} lanes, ${model.device}${model.why ? `. ${model.why}` : ""}`]]);
    item.className = "fine";
  }, "p");
}

