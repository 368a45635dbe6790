// What is said of one frame: where it is of, which cells, where its time went.

import { $, clock, fill, list, milliseconds, percent, readable, setText, whole } from "/assets/dom.js";

const STAGES = ["unpack", "queued", "copy_up", "preprocess", "infer", "decode", "copy_down", "measure", "track", "encode"];

// Of a reply, as the contract has it.
export function show(reply) {
  const { summary = {}, truncated } = reply.segmentation;
  const [count, confluence] = showCounts(summary.count, summary.confluence, truncated);
  setText($("density"), summary.density_per_mm2 ? `${whole(Math.round(summary.density_per_mm2))} / mm²` : "no pixel size");
  setText($("where"), place(reply));
  $("canvas").setAttribute("aria-label", `Newest frame: ${count} cells, ${confluence} confluence. ${place(reply)}`);
  showGrowth(summary.growth);
  showTimes(reply.timing ?? {});
  const notices = reply.notices ?? [];
  $("notices-box").hidden = !notices.length;
  list($("notices"), notices, (notice) => notice.code, (item, notice) => {
    fill(item, [["span", `${readable(String(notice.code).replace("CODE_", ""))}: ${notice.message ?? ""}`]]);
  });
}

// What is known without its frame too; counts that were cut are lower bounds.
export function showCounts(cells, confluence, isTruncated) {
  const words = [whole(cells) + (isTruncated ? "+" : ""), percent(confluence ?? 0)];
  setText($("cells"), words[0]);
  setText($("confluence"), words[1]);
  return words;
}

// Nothing is known of a frame.
export function clear() {
  for (const id of ["cells", "confluence", "p50", "p95", "frames", "density"]) setText($(id), "–");
  for (const id of ["legend", "troubles", "notices", "stages", "times", "series"]) $(id).replaceChildren();
  for (const id of ["title", "where", "answers", "total"]) setText($(id), "");
  $("growth-tile").hidden = $("notices-box").hidden = $("series").hidden = true;
}

// Cells of each class; `colourOf` says the colour of one, where cells have the colour of their class.
export function showClasses(counts, names, colourOf) {
  list($("legend"), Object.entries(counts), ([number]) => number, (item, [number, count]) => {
    const words = `${names[number] ?? `class ${number}`} ${whole(count)}`;
    fill(item, [...(colourOf ? [["i", "", "swatch"]] : []), ["span", words]]);
    if (colourOf) item.firstChild.style.background = colourOf(Number(number));
  });
}

function place(reply) {
  const metadata = reply.metadata ?? {};
  const index = metadata.index ?? {};
  const parts = [
    metadata.plate && `plate ${metadata.plate}`, metadata.well && `well ${metadata.well}`,
    metadata.position ? `position ${metadata.position}` : index.p !== undefined && `position ${index.p}`,
    metadata.channel ? `channel ${metadata.channel}` : index.c !== undefined && `channel ${index.c}`,
    index.z !== undefined && `z ${index.z}`, metadata.z_um !== undefined && `focus ${metadata.z_um} µm`,
    index.t !== undefined && `t ${index.t}`, `frame ${reply.id ?? 0}`,
    `${reply.segmentation.width} × ${reply.segmentation.height}`, clock(new Date(reply.received_at)),
  ];
  return parts.filter(Boolean).join(" · ");
}

function showGrowth(growth) {
  const rate = growth?.count;
  $("growth-tile").hidden = !growth;
  if (!growth) return;
  const hours = (number) => `${number.toFixed(1)} h`;
  setText($("doubling"), rate?.doubling_hours ? `${hours(rate.doubling_hours)} (${hours(rate.doubling_low_hours)} – ${hours(rate.doubling_high_hours)})` : "not yet told");
}

function showTimes(timing) {
  const stages = STAGES.map((name, number) => ({ name, number, time: timing[name] ?? 0 })).filter((stage) => stage.time);
  const tiles = timing.tiles > 1 ? `, ${timing.tiles} tiles` : "";
  setText($("total"), `${milliseconds(timing.total)} in all${tiles}`);
  const tint = (element, stage) => (element.style.background = `var(--s${stage.number % 8})`);
  list($("times"), stages, (stage) => stage.name, (bar, stage) => {
    bar.style.flexGrow = stage.time;
    tint(bar, stage);
  }, "i");
  list($("stages"), stages, (stage) => stage.name, (item, stage) => {
    fill(item, [["span", ""], ["span", milliseconds(stage.time)]]);
    fill(item.firstChild, [["i", "", "swatch"], ["span", stage.name.replace("_", " ")]]);
    tint(item.firstChild.firstChild, stage);
  });
}
