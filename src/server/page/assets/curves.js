// How a number went over time: one line a series, the one that is shown in front.

import { roundLength } from "/assets/view.js";

const LEFT = 40;
const BOTTOM = 18;
const TOP = 8;
const RIGHT = 10;

// `lines`: [{ points: [[ms, value], ...], isShown }]; `words` makes a value readable.
export function draw(canvas, lines, words) {
  const density = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const context = canvas.getContext("2d");
  context.scale(density, density);
  const style = getComputedStyle(document.documentElement);
  const [grid, dim, accent] = ["--grid", "--dim", "--accent"].map((name) => style.getPropertyValue(name));
  context.font = '11px system-ui, "DejaVu Sans", sans-serif';
  const all = lines.flatMap((line) => line.points);
  if (!all.length) {
    context.fillStyle = dim;
    context.textAlign = "center";
    context.fillText("no points yet", width / 2, height / 2);
    return;
  }
  const first = Math.min(...lines.filter((line) => line.points.length).map((line) => line.points[0][0]));
  const last = Math.max(first + 10_000, ...lines.filter((line) => line.points.length).map((line) => line.points.at(-1)[0]));
  const step = stepFor(all.reduce((most, point) => Math.max(most, point[1]), 0));
  const top = step * 3;
  const x = (at) => LEFT + ((at - first) / (last - first)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + (1 - value / top) * (height - TOP - BOTTOM);

  context.strokeStyle = grid;
  context.fillStyle = dim;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let value = 0; value <= top + step / 2; value += step) {
    context.beginPath();
    context.moveTo(LEFT, Math.round(y(value)) + 0.5);
    context.lineTo(width - RIGHT, Math.round(y(value)) + 0.5);
    context.stroke();
    context.fillText(words(value), LEFT - 6, y(value));
  }
  context.textBaseline = "alphabetic";
  context.textAlign = "left";
  context.fillText(clock(first, last - first), LEFT, height - 3);
  context.textAlign = "right";
  context.fillText(clock(last, last - first), width - RIGHT, height - 3);

  context.lineJoin = "round";
  for (const line of [...lines].sort((a, b) => a.isShown - b.isShown)) {
    context.strokeStyle = context.fillStyle = line.isShown ? accent : dim;
    context.globalAlpha = line.isShown ? 1 : 0.45;
    context.lineWidth = line.isShown ? 2 : 1;
    context.beginPath();
    for (const [at, value] of line.points) context.lineTo(x(at), y(value));
    context.stroke();
    const [at, value] = line.points.at(-1) ?? [first, 0];
    context.beginPath();
    context.arc(x(at), y(value), line.isShown ? 3 : 2, 0, 7);
    context.fill();
  }
  context.globalAlpha = 1;
}

// A line in words, for those who do not see it.
export function described(points, words) {
  if (!points.length) return "no points yet";
  const minutes = Math.round((points.at(-1)[0] - points[0][0]) / 60_000);
  const span = minutes < 1 ? "less than a minute" : minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`;
  const [low, high] = points.reduce(([low, high], [, value]) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  return `from ${words(points[0][1])} to ${words(points.at(-1)[1])} in ${span}; lowest ${words(low)}, highest ${words(high)}`;
}

// Three of these reach over `most`.
function stepFor(most) {
  const third = Math.max(most, 1e-6) / 3;
  const step = roundLength(third);
  return step >= third ? step : [2, 2.5, 4, 5, 10].map((factor) => factor * 10 ** Math.floor(Math.log10(third))).find((step) => step >= third);
}

function clock(at, span) {
  const time = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const hours = `${two(time.getHours())}:${two(time.getMinutes())}`;
  if (span < 600_000) return `${hours}:${two(time.getSeconds())}`;
  return span > 86_400_000 ? `${time.getMonth() + 1}/${time.getDate()} ${hours}` : hours;
}
