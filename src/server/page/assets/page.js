// The page: what the daemon tells, put where a person looks. Text of clients is only ever text.

import { described, draw as drawCurve } from "/assets/curves.js";
import { $, ago, choose, chosen, clock, fill, list, milliseconds, nameOf, readable, percent, setText, whole } from "/assets/dom.js";
import * as panel from "/assets/panel.js";
import { STATES, listModels, listSessions } from "/assets/sessions.js";
import { Stream, wordsOf } from "/assets/stream.js";
import { View, colour } from "/assets/view.js";

// Points of a curve that are kept here.
const POINTS = 4000;
// Series whose newest frame is kept, so that it is there when somebody picks it.
const KEPT = 12;
const view = new View($("canvas"));
const stream = new Stream({ event: onEvent, state: onState });
let status = { sessions: [], models: [] };
let picked = null; // a session's id
let series = null; // one of its series; null: whichever is newest
let curves = new Map();
let isPaused = false;
let hasColours = false; // somebody chose them
let wanted = null; // the newest frame, while another one's picture is fetched
let isFetching = false;
const kept = new Map(); // the newest frame of each series, with its picture
let lastHeard = null;
let peer = null;

/* What the daemon says. */

function onEvent(name, text) {
  lastHeard = new Date();
  if (name === "hello") {
    const hello = JSON.parse(text);
    peer = hello.peer;
    // Each connection is told them from their beginning.
    curves = new Map();
    $("logout").hidden = !hello.is_logged_in;
    setText($("server"), hello.server ?? "ADDRESS");
  } else if (name === "status") onStatus(JSON.parse(text));
  else if (name === "numbers") onNumbers(JSON.parse(text));
  else if (name === "frame") onFrame(JSON.parse(text));
  else if (name === "over") say("The session has ended.");
}

function onState(state, words) {
  document.body.classList.toggle("is-stale", state !== "open");
  $("stale").hidden = state === "open";
  $("state").hidden = state !== "open";
  if (state === "open") {
    if (!$("login").hidden) showLogin(false);
    $("lost").hidden = true;
    $("connection").textContent = "";
  } else if (state === "refused") {
    showLogin(true, lastHeard ? words : "");
  } else if (state === "gone") {
    pick(null);
  } else {
    const since = lastHeard ? ` What is shown is of ${clock(lastHeard)}.` : "";
    setText($("lost"), `${words || "The connection to the daemon is lost."} Trying again …${since}`);
    $("lost").hidden = false;
    $("connection").textContent = "not connected";
  }
}

function onStatus(next) {
  status = { sessions: [], models: [], ...next };
  const [word, mood] = STATES[status.state] ?? ["?", ""];
  setText($("state"), word);
  $("state").className = `state ${mood}`;
  setText($("connection"), `cellsegd ${status.server_version}, seen as ${peer}`);
  const ids = status.sessions.map((session) => session.session);
  if (picked && !ids.includes(picked)) pick(null);
  if (!picked && ids.length) pick(ids.at(-1));
  const isEmpty = !ids.length;
  if (isEmpty !== !$("none").hidden) say(isEmpty ? "No session is open." : "");
  $("none").hidden = !isEmpty;
  $("view").hidden = $("side").hidden = isEmpty;
  listSessions(status, picked, pick);
  listModels(status);
  const session = current();
  if (!session) return;
  document.title = `${nameOf(session)} – cellsegd`;
  setText($("title"), nameOf(session));
  setText($("p50"), milliseconds(session.p50_us));
  setText($("p95"), milliseconds(session.p95_us));
  setText($("frames"), whole(session.counts?.frames));
  if (view.frame) return;
  const last = session.since_last_frame;
  setText($("waiting"), last ? `Waiting for the next frame … the last came ${ago(last).replace("now", "just now")}.` : "Waiting for the first frame …");
  if (Number(session.counts?.segmented)) panel.showCounts(session.cells, session.confluence);
}

function onNumbers(numbers) {
  for (const { series: name, points } of numbers.curves) {
    const known = curves.get(name) ?? [];
    known.push(...points);
    if (known.length > POINTS) known.splice(0, known.length - POINTS);
    curves.set(name, known);
  }
  if (numbers.curves.length) {
    listSeries();
    drawCurves();
  }
  const lost = numbers.answers.filter((answer) => answer.outcome !== "segmented");
  const words = lost.map(({ outcome, reason, frames }) => `${whole(frames)} ${outcome} (${readable(reason)})`);
  setText($("answers"), words.join(", ") || "none");
  list($("troubles"), numbers.troubles.toReversed(), (trouble) => trouble.seq, (item, trouble) => {
    const message = trouble.message || readable(trouble.reason);
    fill(item, [["time", clock(new Date(trouble.at_ms))], ["span", ` frame ${trouble.frame} ${trouble.outcome}: ${message}`]]);
  });
}

function onFrame(frame) {
  if (series !== null && frame.series !== series) return;
  wanted = { frame, session: picked };
  if (!isFetching && !isPaused) fetchPicture();
}

// One picture at a time; what comes meanwhile is left but for the newest.
async function fetchPicture() {
  isFetching = true;
  while (wanted && !isPaused) {
    const { frame, session } = wanted;
    wanted = null;
    let picture = null;
    try {
      const answer = await fetch(`/v1/observe/${encodeURIComponent(session)}/frame?seq=${frame.seq}`, { cache: "no-store" });
      if (answer.ok) picture = await createImageBitmap(await answer.blob());
    } catch {
      // The connection is lost, which the stream says as well.
    }
    if (picture && session === picked) keep(frame, picture);
    else picture?.close();
  }
  isFetching = false;
}

function keep(frame, picture) {
  const before = kept.get(frame.series);
  kept.delete(frame.series);
  kept.set(frame.series, { frame, picture });
  if (series === null || frame.series === series) showFrame(frame, picture);
  before?.picture.close();
  const [[oldest, { picture: gone }]] = kept;
  if (kept.size > KEPT && oldest !== view.frame.series) {
    kept.delete(oldest);
    gone.close();
  }
}

/* What a person sees. */

function showFrame(frame, picture) {
  const { reply, cells } = frame;
  if (!hasColours) choose("colours", cells.some((cell) => cell.track !== undefined) || !cells.length ? "track" : "class");
  view.by = chosen("colours");
  $("waiting").hidden = true;
  view.show(frame, picture);
  panel.show(reply);
  showClasses();
  if (curves.size > 1) {
    listSeries();
    drawCurves();
  }
}

function showClasses() {
  const counts = view.frame?.reply.segmentation.summary?.count_by_class;
  if (counts) panel.showClasses(counts, classes(), view.by === "class" && ((number) => colour(number, view.isRed)[0]));
}

function listSeries() {
  const names = [...curves.keys()];
  $("series").hidden = names.length < 2;
  if (names.length < 2) return;
  list($("series"), [null, ...names], (name) => name ?? "", (button, name) => {
    button.type = "button";
    setText(button, name === null ? "newest of all" : name.replaceAll('"', ""));
    button.setAttribute("aria-pressed", String(name === series));
    button.onclick = () => {
      series = name;
      const known = kept.get(name);
      if (known) showFrame(known.frame, known.picture);
      listSeries();
      drawCurves();
    };
  }, "button");
}

function drawCurves() {
  const shown = series ?? view.frame?.series ?? curves.keys().next().value;
  const each = (field) => [...curves].map(([name, points]) => ({ points: points.map((point) => [point[0], point[field]]), isShown: name === shown }));
  for (const [id, field, words] of [["count-curve", 1, (n) => whole(Math.round(n * 100) / 100)], ["confluence-curve", 2, percent]]) {
    const lines = each(field);
    drawCurve($(id), lines, words);
    const line = lines.find((line) => line.isShown);
    $(id).setAttribute("aria-label", `${id === "count-curve" ? "Cells" : "Confluence"} over time: ${described(line?.points ?? [], words)}`);
  }
}

/* What a person does. */

function pick(session) {
  picked = session;
  series = null;
  curves = new Map();
  wanted = null;
  view.clear();
  for (const { picture } of kept.values()) picture.close();
  kept.clear();
  $("waiting").hidden = false;
  panel.clear();
  setPaused(false);
  if (!session) document.title = "cellsegd";
  listSessions(status, picked, pick);
  drawCurves();
  stream.open(session ? `/v1/observe/${encodeURIComponent(session)}` : "/v1/observe");
}

function setPaused(paused) {
  isPaused = paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  setText($("pause"), paused ? "Go on" : "Pause");
  if (!paused && wanted && !isFetching) fetchPicture();
}

function toggle(id) {
  view.shows[id] = !view.shows[id];
  $(id).setAttribute("aria-pressed", String(view.shows[id]));
  view.draw();
}

function setColours(by) {
  hasColours = true;
  choose("colours", by);
  view.by = by;
  view.draw();
  showClasses();
}

function setLight(light) {
  document.documentElement.dataset.light = light;
  choose("light", light);
  try {
    localStorage.setItem("light", light);
  } catch {
    // A browser that keeps nothing asks again the next time.
  }
  view.isRed = light === "red";
  view.draw();
  drawCurves();
  showClasses();
}

function showLogin(isNeeded, words = "") {
  $("login").hidden = !isNeeded;
  // What was shown stays, but is not passed off as live.
  const isStranger = isNeeded && !lastHeard;
  $("page").classList.toggle("is-strange", isStranger);
  $("nav").hidden = isStranger;
  setText($("login-title"), lastHeard ? "Log in again" : "Log in");
  setText($("login-error"), words);
  $("connection").textContent = isNeeded ? "not logged in" : "";
  if (isNeeded) {
    $("lost").hidden = true;
    $("logout").hidden = true;
    $("token").focus();
  }
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  try {
    const answer = await fetch("/login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
    if (answer.ok) pick(picked);
    else setText($("login-error"), await wordsOf(answer));
  } catch {
    setText($("login-error"), "The daemon does not answer.");
  }
});

$("logout").addEventListener("click", async () => {
  stream.close();
  // If that fails the cookie stays, and the page says so by going on.
  await fetch("/logout", { method: "POST" }).catch(() => {});
  location.reload();
});

for (const id of ["outlines", "fill", "numbers"]) $(id).addEventListener("click", () => toggle(id));
$("pause").addEventListener("click", () => setPaused(!isPaused));
$("colours").addEventListener("change", (event) => setColours(event.target.value));
$("light").addEventListener("change", (event) => setLight(event.target.value));
window.addEventListener("resize", drawCurves);

$("canvas").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.toLowerCase();
  const does = {
    o: () => toggle("outlines"), f: () => toggle("fill"), n: () => toggle("numbers"), p: () => setPaused(!isPaused),
    c: () => setColours(view.by === "track" ? "class" : "track"),
  }[key];
  if (does) {
    event.preventDefault();
    does();
  }
});

$("canvas").addEventListener("pointermove", (event) => {
  const cell = view.at(event.offsetX, event.offsetY);
  $("tip").hidden = !cell;
  if (!cell) return;
  const track = cell.track === undefined ? `cell ${cell.label}` : `track ${cell.track}${cell.parent ? `, of ${cell.parent}` : ""}`;
  setText($("tip"), `${track} · ${classes()[cell.class] ?? cell.class} · score ${cell.score.toFixed(2)} · ${whole(cell.area)} px`);
  const { offsetLeft, offsetTop } = $("canvas");
  $("tip").style.left = `${Math.min(offsetLeft + event.offsetX + 14, $("stage").clientWidth - $("tip").clientWidth - 8)}px`;
  $("tip").style.top = `${offsetTop + event.offsetY + 16}px`;
});
$("canvas").addEventListener("pointerleave", () => {
  $("tip").hidden = true;
  view.at(-1, -1);
});

// Arrows go through the list of sessions, beside Tab.
$("sessions").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const buttons = [...$("sessions").querySelectorAll("button")];
  const next = step && buttons[buttons.indexOf(document.activeElement) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});

function current() {
  return status.sessions.find((session) => session.session === picked);
}

// What the classes of its model are called.
function classes() {
  return status.models.find((model) => model.model?.name === current()?.model)?.model.classes ?? [];
}

function say(words) {
  setText($("spoken"), words);
}

/* Begin: in the light of the last time, dark before there was one. */

let light = "dark";
try {
  light = localStorage.getItem("light") ?? light;
} catch {
  // Nothing is kept.
}
setLight(["dark", "red", "light"].includes(light) ? light : "dark");
pick(null);
