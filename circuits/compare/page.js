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

function heatmaps(data) {
  return data.map((trace, index) => (trace.type === "heatmap" ? index : -1)).filter((i) => i >= 0);
}

function recolor(plot) {
  window.Plotly.relayout(plot, themed(plot.layout));
  const diverging = heatmaps(plot.data);
  if (diverging.length) {
    window.Plotly.restyle(plot, { colorscale: [divergingScale()] }, diverging);
    const crosses = plot.data.findIndex((trace) => trace.name === "interval reaches zero");
    if (crosses >= 0) { window.Plotly.restyle(plot, { "marker.color": color("--soft") }, [crosses]); }
  }
}

function options(name) {
  const download = (format) => ({
    name: "Download as " + format.toUpperCase(),
    icon: window.Plotly.Icons.disk,
    click: (plot) => window.Plotly.downloadImage(plot, { format, filename: name, scale: 2 }),
  });
  return { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["toImage", "select2d",
    "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"], modeBarButtonsToAdd: [download("svg"),
    download("png")] };
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
  Promise.all(plots.map(draw)).then(() => { document.body.dataset.drawn = String(plots.length); });
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
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
  root.dataset.theme = "light";
  recolorAll();
});
window.addEventListener("afterprint", () => {
  if (kept) { root.dataset.theme = kept; } else { delete root.dataset.theme; }
  recolorAll();
});

drawAll();
