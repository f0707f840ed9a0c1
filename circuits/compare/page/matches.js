"use strict";

// Matched heads: what is pointed at or focused lights up in all maps, with its partners. Where heads
// are not matched it lights up alone.
function partners(role, node, links) {
  const other = role === "teacher" ? "student" : "teacher";
  const there = new Set(links.filter((link) => link[role] === node).map((link) => link[other]));
  const here = links.filter((link) => there.has(link[other])).map((link) => link[role]);
  return { [role]: new Set([node, ...here]), [other]: there };
}

function lightUp(maps, lit) {
  for (const { plot, role, nodes } of maps) {
    const shapes = [...(lit[role] || [])].filter((node) => nodes[node]).map((node) => {
      const [row, column] = nodes[node];
      return { type: "rect", x0: column - 0.47, x1: column + 0.47, y0: row - 0.47, y1: row + 0.47,
        line: { color: color("--link"), width: 4 } };
    });
    window.Plotly.relayout(plot, { shapes });
  }
}

function nodeAt(nodes, place) {
  return Object.keys(nodes).find((node) => nodes[node].join() === String(place));
}

function setUpMatches() {
  const buttons = Array.from(document.querySelectorAll("button.match"));
  const links = buttons.map((button) => ({ ...button.dataset }));
  const maps = Array.from(document.querySelectorAll('[data-figure^="heads-"]'), (plot) => (
    { plot, ...plot.data.find((trace) => trace.type === "heatmap").meta }));
  const show = (lit) => {
    lightUp(maps, lit);
    for (const button of buttons) {
      const { teacher, student } = button.dataset;
      const on = lit.teacher && lit.teacher.has(teacher) && lit.student.has(student);
      button.classList.toggle("lit", Boolean(on));
    }
  };
  for (const { plot, role, nodes } of maps) {
    plot.on("plotly_hover", ({ points: [point] }) => {
      const at = nodeAt(nodes, point.pointNumber);
      if (at) { show(partners(role, at, links)); }
    });
    plot.on("plotly_unhover", () => show({}));
  }
  for (const button of buttons) {
    const own = () => show(partners("teacher", button.dataset.teacher, links));
    button.addEventListener("focus", own);
    button.addEventListener("mouseenter", own);
    button.addEventListener("mouseleave", () => show({}));
    button.addEventListener("blur", () => show({}));
  }
  return { maps, light: (role, node) => show(node ? partners(role, node, links) : {}) };
}
