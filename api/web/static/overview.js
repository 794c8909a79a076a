// The overview in motion: charts that tell under the pointer and can be drawn open, and fresh numbers every half minute.
// The server has drawn both charts already; where there is no pointer to hover with, they stay as they are.
"use strict";

const REFRESH_MS = 30000;
const HATCHED = new Set(["ERROR", "UNKNOWN"]);
const ALIAS = { GREEN: "OK", RED: "BLOCKED" };
let drawn = [];

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function fill(context, name) {
  const colour = token(`--fill-${ALIAS[name] ?? name}`);
  if (!HATCHED.has(name)) return colour;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const brush = tile.getContext("2d");
  brush.fillStyle = colour;
  brush.fillRect(0, 0, 8, 8);
  brush.strokeStyle = token("--paper");
  brush.lineWidth = 2;
  brush.beginPath();
  for (const at of [-4, 0, 4]) { brush.moveTo(at, 8 + at); brush.lineTo(at + 8, at); }
  if (name === "ERROR") brush.stroke();
  else { brush.fillStyle = token("--paper"); brush.fillRect(1, 1, 2, 2); brush.fillRect(5, 5, 2, 2); }
  return context.createPattern(tile, "repeat");
}

// What was counted, oldest first, read from the table that everybody can read.
function numbers(names, column) {
  const rows = [...document.querySelectorAll("#numbers tbody tr")].reverse();
  return {
    labels: rows.map((row) => row.querySelector("time").textContent),
    times: rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000),
    counts: names.map((_, at) => rows.map((row) => Number(row.cells[column + at].textContent))),
  };
}

// The top of each name's piece of the bar; of shares, in percent of the whole bar.
function stacked({ times, counts }, isShares) {
  const sums = times.map(() => 0);
  const tops = counts.map((values) => values.map((value, at) => (sums[at] += value)));
  return isShares ? tops.map((values) => values.map((value, at) => (sums[at] ? (100 * value) / sums[at] : 0))) : tops;
}

function said(label, names, counts, at) {
  const parts = names.map((name, which) => [counts[which][at], name]).filter(([count]) => count).reverse();
  return `${label}: ${parts.map(([count, name]) => `${count.toLocaleString("en")} ${name}`).join(", ") || "no runs"}`;
}

function draw(figure) {
  const names = figure.dataset.names.split(" ");
  const isShares = "shares" in figure.dataset;
  const found = numbers(names, Number(figure.dataset.column));
  if (found.times.length < 2) return null;
  const plot = figure.querySelector(".plot");
  const readout = figure.querySelector(".readout");
  const half = (found.times.at(-1) - found.times[0]) / (found.times.length - 1) / 2;
  const axis = { stroke: token("--muted"), font: `12px ${token("--sans")}`, ticks: { show: false } };
  const bars = uPlot.paths.bars({ size: [0.76, 60] });
  const chart = new uPlot(
    {
      width: plot.clientWidth,
      height: plot.clientHeight,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1e3), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, points: { show: false }, sync: { key: "overview" }, drag: { x: true, y: false, uni: 10 } },
      // The first and the last bar are shown whole; a part that somebody chose is shown as it was chosen.
      scales: { x: { range: (_, least, most) => (least === found.times[0] && most === found.times.at(-1) ? [least - half, most + half] : [least, most]) }, y: { range: (_, __, most) => (isShares ? [0, 100] : [0, Math.max(most, 1) * 1.05]) } },
      axes: [
        { ...axis, size: 30, grid: { show: false }, space: 90, values: (_, splits) => splits.map((at) => new Date(at * 1e3).toISOString().slice(0, 10)), incrs: [1, 2, 7, 14, 28, 91, 182, 364, 1092, 3640, 18200, 36400, 182000, 728000, 1820000].map((days) => days * 86400) },
        { ...axis, size: 52, space: 44, incrs: [1, 2, 5, 10, 20, 25, 50].flatMap((step) => [step, step * 100, step * 1e4, step * 1e6]).sort((a, b) => a - b), grid: { stroke: token("--rule"), width: 1 }, values: (_, splits) => splits.map((value) => `${value.toLocaleString("en")}${isShares ? "%" : ""}`) },
      ],
      // The whole bar first, then each lower part over it.
      series: [{}, ...names.map((name) => ({ fill: (self) => fill(self.ctx, name), width: 0, paths: bars, points: { show: false } })).reverse()],
      hooks: {
        setCursor: [(self) => {
          const at = self.cursor.idx;
          readout.textContent = at == null ? readout.dataset.still : said(found.labels[at], names, found.counts, at);
        }],
        setScale: [(self, key) => {
          if (key !== "x") return;
          const { min, max } = self.scales.x;
          for (const other of drawn) if (other !== self && (other.scales.x.min !== min || other.scales.x.max !== max)) other.setScale("x", { min, max });
        }],
      },
    },
    [found.times, ...stacked(found, isShares).reverse()],
  );
  chart.root.setAttribute("aria-hidden", "true"); // the drawing of the server stays for who does not see it
  plot.append(chart.root);
  figure.classList.add("live");
  readout.textContent = readout.dataset.still;
  new ResizeObserver(() => chart.setSize({ width: plot.clientWidth, height: plot.clientHeight })).observe(plot);
  return chart;
}

function drawAll() {
  for (const chart of drawn) chart.destroy();
  drawn = [];
  if (!matchMedia("(hover: hover)").matches) return;
  for (const figure of document.querySelectorAll(".chart")) {
    const chart = draw(figure);
    if (chart) drawn.push(chart);
  }
}

// Whoever is reading the numbers, has text marked or a chart drawn open is left alone.
function isLeftAlone(overview) {
  const isZoomed = drawn.some(({ scales, data }) => scales.x.min > data[0][0] || scales.x.max < data[0].at(-1));
  return document.hidden || isZoomed || overview.querySelector("details[open]") !== null || !getSelection().isCollapsed;
}

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.addEventListener("htmx:afterSwap", drawAll);
setInterval(() => {
  const overview = document.getElementById("overview");
  if (!isLeftAlone(overview)) htmx.trigger(overview, "refresh");
}, REFRESH_MS);
