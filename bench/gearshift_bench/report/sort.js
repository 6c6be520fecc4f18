// Tables sort by a click on a head; without scripts they stay in the order of the runs.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0];
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const figure = (row) => row.cells[head.cellIndex].dataset.figure;
      const text = (row) => row.cells[head.cellIndex].textContent;
      const order = (a, b) =>
        figure(a) === undefined || figure(b) === undefined
          ? text(a).localeCompare(text(b), undefined, { numeric: true })
          : Number(figure(a)) - Number(figure(b));
      body.append(...[...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a))));
    });
  }
}
