"use strict";

// Filters of a drawn circuit. Every trace of edges has a row for each edge in customdata; the places
// within a row are those of ROW in figures/edges.py.
const [LABEL, CONTRAST, WRITER, READER, PART, RANK, STRENGTH, SCORE] = [0, 1, 2, 3, 4, 5, 6, 7];

function key(row) {
  return row[CONTRAST] + " " + row[LABEL];
}

function checked(form, name) {
  const boxes = Array.from(form.querySelectorAll(`[name="${name}"]`));
  return new Set(boxes.filter((box) => box.checked).map((box) => box.value));
}

function reached(start, steps) {
  const found = new Set([start]);
  for (let size = 0; size < found.size;) {
    size = found.size;
    for (const [from, to] of steps) { if (found.has(from)) { found.add(to); } }
  }
  return found;
}

function touching(rows, node, paths) {
  if (!node) { return rows; }
  if (!paths) { return rows.filter((row) => row[WRITER] === node || row[READER] === node); }
  return [...new Set(rows.map((row) => row[CONTRAST]))].flatMap((contrast) => {
    const own = rows.filter((row) => row[CONTRAST] === contrast);
    const above = reached(node, own.map((row) => [row[WRITER], row[READER]]));
    const below = reached(node, own.map((row) => [row[READER], row[WRITER]]));
    return own.filter((row) => above.has(row[WRITER]) || below.has(row[READER]));
  });
}

// The rows that the form leaves; one for each edge. A form may be without parts, nodes and list.
function selectRows(form, rows) {
  const { circuit, part, node, paths } = form.elements;
  const circuits = circuit ? checked(form, "circuit") : null;
  const parts = part ? checked(form, "part") : null;
  const most = Number(form.querySelector("input[type=range]").value);
  const strong = rows.filter((row) => row[RANK] <= most && (!parts || parts.has(row[PART]))
    && (!circuits || circuits.has(row[CONTRAST])));
  return node ? touching(strong, node.value, paths.checked) : strong;
}

// Points of a trace come in runs of one length, a run for each of its rows.
function cut(trace, kept) {
  const step = trace.x.length / trace.customdata.length;
  const runs = trace.customdata.map((row, i) => i).filter((i) => kept.has(key(trace.customdata[i])));
  const points = (values) => runs.flatMap((i) => values.slice(i * step, (i + 1) * step));
  // Without any point the trace would lose its entry in the legend.
  return { x: runs.length ? points(trace.x) : [null], y: runs.length ? points(trace.y) : [null],
    customdata: runs.map((i) => trace.customdata[i]) };
}

// One update of all traces that change: edges first, then nodes, which keep their points.
function redraw(plot, whole, shown, form) {
  const circuits = form.elements.circuit ? checked(form, "circuit") : null;
  const kept = new Set(shown.map(key));
  const update = { x: [], y: [], customdata: [], visible: [], "marker.opacity": [],
    "marker.size": [] };
  for (const trace of whole) {
    const part = cut(trace, kept);
    for (const name of ["x", "y", "customdata"]) { update[name].push(part[name]); }
    const contrast = trace.customdata[0][CONTRAST];
    update.visible.push(!circuits || circuits.has(contrast) ? true : "legendonly");
    update["marker.opacity"].push(undefined);
    update["marker.size"].push(undefined);
  }
  const touched = new Set(shown.flatMap((row) => [row[WRITER], row[READER]]));
  const nodes = places(plot.data, (trace) => !trace.meta && trace.marker.symbol === "circle");
  for (const names of nodes.map((place) => plot.data[place].customdata)) {
    for (const name of ["x", "y", "customdata", "visible"]) { update[name].push(undefined); }
    update["marker.opacity"].push(names.map((node) => (touched.has(node) ? 1 : 0.25)));
    const chosen = form.elements.node ? form.elements.node.value : "";
    update["marker.size"].push(names.map((node) => (node === chosen ? 16 : 10)));
  }
  return window.Plotly.restyle(plot, update, [...whole.map((trace) => trace.place), ...nodes]);
}

function stateOf(shown, rows) {
  const count = (some, contrast) => some.filter((row) => row[CONTRAST] === contrast).length;
  const contrasts = [...new Set(rows.map((row) => row[CONTRAST]))];
  const each = contrasts.map((contrast) => `${count(shown, contrast)} ${contrast}`).join(", ");
  const weakest = Math.min(...shown.map((row) => row[STRENGTH]));
  return `${shown.length} of ${rows.length} edges shown` + (contrasts.length > 1 ? `: ${each}.` : ".")
    + (shown.length ? ` The weakest has |score| ${Number(weakest.toPrecision(2))}.` : "");
}

function listEdges(list, shown) {
  const order = [...shown].sort((a, b) => a[RANK] - b[RANK] || (a[CONTRAST] < b[CONTRAST] ? -1 : 1));
  list.querySelector("tbody").replaceChildren(...order.map((row) => {
    const line = document.createElement("tr");
    for (const text of [row[LABEL].replace("&lt;", "<").replace("&gt;", ">"), row[SCORE],
      row[RANK], row[CONTRAST]]) {
      line.appendChild(document.createElement("td")).textContent = text;
    }
    return line;
  }));
}

function setUpFilter(form) {
  const name = form.dataset.filters;
  const plot = document.querySelector(`[data-figure="${name}"]`);
  const list = document.querySelector(`[data-edges="${name}"]`);
  const range = form.querySelector("input[type=range]");
  const whole = places(plot.data, (trace) => trace.meta).map((place) => {
    const { x, y, customdata } = plot.data[place];
    return { place, x, y, customdata };
  });
  const rows = [...new Map(whole.flatMap((trace) => trace.customdata).map((row) => [key(row), row]))
    .values()];
  let shown = rows;

  const apply = () => {
    shown = selectRows(form, rows);
    form.querySelector("output").textContent = range.value;
    if (form.elements.node) { form.elements.paths.disabled = !form.elements.node.value; }
    redraw(plot, whole, shown, form);
    form.querySelector(".state").textContent = stateOf(shown, rows);
    if (list && list.open) { listEdges(list, shown); }
  };
  let waiting = 0;
  form.addEventListener("input", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(apply);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  if (list) { list.addEventListener("toggle", () => listEdges(list, list.open ? shown : [])); }
  plot.on("plotly_legendclick", ({ curveNumber }) => {
    if (!plot.data[curveNumber].meta) { return true; }
    const { legendgroup } = plot.data[curveNumber];
    const box = form.querySelector(`[name="circuit"][value="${legendgroup}"]`);
    if (box) { box.checked = !box.checked; apply(); }
    return false;
  });
  plot.on("plotly_legenddoubleclick", () => false);
  form.hidden = false;
  if (list) { list.hidden = false; }
  apply();
}
