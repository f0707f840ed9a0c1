"use strict";

// Maps of heads that open: a click, or Enter on the cell that the arrow keys have reached, shows the
// card of that head in a panel. Escape closes it, and the focus goes back to where it was.
const ARROWS = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function cardOf(role, node) {
  return document.getElementById(`card-${role}-${node}`);
}

function showCard(panel, card) {
  panel.querySelector("h2").textContent = card.dataset.name;
  panel.querySelector(".shown").replaceChildren(card.querySelector(".body").cloneNode(true));
  if (!panel.open) { panel.showModal(); }
  panel.scrollTop = 0;
}

// The next cell with a card in the direction of an arrow; the same one at the edge.
function nextNode(nodes, node, arrow) {
  const [row, column] = nodes[node];
  return nodeAt(nodes, [row + arrow[0], column + arrow[1]]) || node;
}

function setUpMap({ plot, role, nodes }, panel, light) {
  const said = document.getElementById("pointed");
  let at = nodeAt(nodes, [0, 0]) || Object.keys(nodes)[0];
  const point = () => {
    const [row, column] = nodes[at];
    const { text } = plot.data.find((trace) => trace.type === "heatmap");
    light(role, at);
    said.textContent = `${role} ${text[row][column]}`;
  };
  const open = () => {
    const card = cardOf(role, at);
    if (!card) { return; }
    plot.focus({ preventScroll: true });
    showCard(panel, card);
    light(role, at);
  };
  plot.tabIndex = 0;
  plot.setAttribute("role", "application");
  plot.setAttribute("aria-label", `${plot.getAttribute("aria-label")}. Arrow keys go from cell to `
    + "cell, Enter shows what is known of one.");
  plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) { point(); } });
  plot.addEventListener("blur", () => light(role, null));
  plot.addEventListener("keydown", (event) => {
    if (event.target !== plot || event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (ARROWS[event.key]) { at = nextNode(nodes, at, ARROWS[event.key]); point(); }
    else if (event.key === "Enter" || event.key === " ") { open(); }
    else { return; }
    event.preventDefault();
  });
  plot.on("plotly_click", ({ points: [place] }) => {
    at = nodeAt(nodes, place.pointNumber) || at;
    open();
  });
}

function setUpHeads({ maps, light }) {
  const panel = document.getElementById("panel");
  if (!panel) { return; }
  for (const map of maps) { setUpMap(map, panel, light); }
  panel.addEventListener("click", (event) => {
    if (event.target === panel) { panel.close(); return; }
    const link = event.target.closest("a");
    if (!link) { return; }
    const card = document.getElementById(link.hash.slice(1));
    if (card && card.matches(".card")) { event.preventDefault(); showCard(panel, card); }
    else { panel.close(); }
  });
}
