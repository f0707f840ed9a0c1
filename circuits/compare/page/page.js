"use strict";

const root = document.documentElement;
const AXIS = 58;
const figures = JSON.parse(document.getElementById("figures").textContent);

function color(name) {
  return getComputedStyle(root).getPropertyValue(name).trim();
}

function themed(layout) {
  const update = { "font.color": color("--ink"), "hoverlabel.bgcolor": color("--card"),
    "hoverlabel.font.color": color("--ink"), "hoverlabel.bordercolor": color("--axis") };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    update[axis + ".gridcolor"] = color("--grid");
    for (const part of ["zerolinecolor", "linecolor", "tickcolor"]) {
      update[axis + "." + part] = color("--axis");
    }
  }
  return update;
}

function divergingScale() {
  return [[0, color("--negative")], [0.5, color("--neutral")], [1, color("--positive")]];
}

function places(data, wanted) {
  return data.map((trace, index) => (wanted(trace) ? index : -1)).filter((index) => index >= 0);
}

function recolor(plot) {
  window.Plotly.relayout(plot, themed(plot.layout));
  const diverging = places(plot.data, (trace) => trace.type === "heatmap");
  if (diverging.length) {
    window.Plotly.restyle(plot, { colorscale: [divergingScale()] }, diverging);
    const crosses = plot.data.findIndex((trace) => trace.name === "interval reaches zero");
    if (crosses >= 0) { window.Plotly.restyle(plot, { "marker.color": color("--soft") }, [crosses]); }
  }
  for (const [sign, ink] of [[1, color("--positive")], [-1, color("--negative")]]) {
    const edges = places(plot.data, (trace) => trace.meta && trace.meta.sign === sign);
    if (edges.length) {
      window.Plotly.restyle(plot, { "line.color": ink, "marker.color": ink }, edges);
    }
  }
}

function options(name) {
  const download = (format) => ({
    name: "Download as " + format.toUpperCase(),
    icon: window.Plotly.Icons.disk,
    click: (plot) => window.Plotly.downloadImage(plot, { format, filename: name, scale: 2 }),
  });
  const table = { name: "Download as CSV", icon: window.Plotly.Icons.spikeline,
    click: (plot) => saveTable(plot, name) };
  return { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["toImage", "select2d",
    "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"], modeBarButtonsToAdd: [download("svg"),
    download("png"), table] };
}

// Every point that a figure shows, a line each; a heatmap gives a line for each cell.
function csvOf(plot) {
  const lines = [["series", "x", "y", "value", "x_low", "x_high", "y_low", "y_high", "label"]];
  for (const trace of plot._fullData) {
    if (trace.mode === "text") { continue; }
    const name = trace.name || "";
    if (trace.type === "heatmap") {
      trace.z.forEach((row, i) => row.forEach((value, j) => lines.push([name, trace.x[j], trace.y[i],
        value, "", "", "", "", trace.text ? trace.text[i][j] : ""])));
      continue;
    }
    const bar = (axis, i) => {
      const error = trace["error_" + axis];
      if (!error || !error.array) { return ["", ""]; }
      return [trace[axis][i] - error.arrayminus[i], trace[axis][i] + error.array[i]];
    };
    Array.from(trace.x || []).forEach((x, i) => lines.push([name, x, trace.y[i], "", ...bar("x", i),
      ...bar("y", i), trace.customdata ? [trace.customdata[i]].flat().join(" ") : ""]));
  }
  const quoted = (cell) => {
    const text = cell === null || cell === undefined ? "" : String(cell);
    return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

function saveTable(plot, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvOf(plot)], { type: "text/csv" }));
  link.download = name + ".csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

function draw(plot) {
  const figure = figures[plot.dataset.figure];
  return window.Plotly.newPlot(plot, figure.data, figure.layout, options(plot.dataset.figure))
    .then(() => { recolor(plot); return fitLegend(plot); });
}

// A legend takes as many rows as the width leaves; the plot keeps its height, the figure grows.
function fitLegend(plot) {
  const legend = plot.querySelector("g.legend");
  if (!legend) { return null; }
  const { height, margin } = figures[plot.dataset.figure].layout;
  const inner = height - margin.t - margin.b;
  const rows = Math.ceil(legend.getBBox().height);
  return window.Plotly.relayout(plot, { height: margin.t + inner + AXIS + rows,
    "margin.b": AXIS + rows, "legend.y": -AXIS / inner });
}

function drawAll() {
  const plots = Array.from(document.querySelectorAll(".plot"));
  if (!window.Plotly) {
    for (const plot of plots) {
      plot.classList.add("failed");
      plot.textContent = "The figure needs plotly.min.js in the folder of this page.";
    }
    return;
  }
  Promise.all(plots.map(draw)).then(() => {
    document.querySelectorAll("form.filters").forEach(setUpFilter);
    setUpHeads(setUpMatches());
    document.body.dataset.drawn = String(plots.length);
  });
}

let resized;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => document.querySelectorAll(".js-plotly-plot").forEach(fitLegend), 200);
});

function recolorAll() {
  if (window.Plotly) {
    document.querySelectorAll(".js-plotly-plot").forEach(recolor);
  }
}

const dark = window.matchMedia("(prefers-color-scheme: dark)");
document.getElementById("theme").addEventListener("click", () => {
  const current = root.dataset.theme || (dark.matches ? "dark" : "light");
  root.dataset.theme = current === "dark" ? "light" : "dark";
  recolorAll();
});
dark.addEventListener("change", recolorAll);

let kept;
window.addEventListener("beforeprint", () => {
  kept = root.dataset.theme;
  document.querySelectorAll("details:not(.edges, .cards, .card)").forEach((part) => { part.open = true; });
  root.dataset.theme = "light";
  recolorAll();
});
window.addEventListener("afterprint", () => {
  if (kept) { root.dataset.theme = kept; } else { delete root.dataset.theme; }
  recolorAll();
});

drawAll();
