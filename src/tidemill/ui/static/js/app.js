// What every page needs besides its HTML: copying, the search key, moving through tables and grids by keyboard.

const FIELDS = new Set(["INPUT", "TEXTAREA", "SELECT"]);

function reveal(root) {
  for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "copied";
  setTimeout(() => { button.textContent = "copy"; }, 1200);
}

// One cell of a grid takes part in the tab order; arrows move between the others.
function enterGrids(root) {
  for (const grid of root.querySelectorAll("[data-grid]")) {
    const cells = [...grid.querySelectorAll("a.cell-link")];
    for (const cell of cells) cell.tabIndex = -1;
    const first = grid.querySelector("a.cell-link.chosen") ?? cells.at(-1);
    if (first) first.tabIndex = 0;
  }
}

function moveInGrid(event) {
  const cell = event.target.closest?.("[data-grid] a.cell-link");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !step) return false;
  const [row, column] = [Number(cell.dataset.row) + step[0], Number(cell.dataset.column) + step[1]];
  const next = cell.closest("[data-grid]").querySelector(`a.cell-link[data-row="${row}"][data-column="${column}"]`);
  next?.focus();
  return true;
}

function moveInTable(event) {
  const link = event.target.closest?.("table.rows tbody th a");
  if (!link || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return false;
  const row = link.closest("tr");
  const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
  next?.querySelector("th a")?.focus();
  return true;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});

document.addEventListener("keydown", (event) => {
  if (moveInGrid(event) || moveInTable(event)) { event.preventDefault(); return; }
  if (event.key === "/" && !FIELDS.has(event.target.tagName) && !event.ctrlKey && !event.metaKey) {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
});

document.addEventListener("htmx:afterSwap", (event) => { reveal(event.target); enterGrids(event.target); });
reveal(document);
enterGrids(document);
