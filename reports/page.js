"use strict";
(() => {
  const PAGE = 100;
  const table = document.getElementById("table"), body = table.tBodies[0];
  const text = document.getElementById("filter-text"), verdict = document.getElementById("filter-verdict");
  const count = document.getElementById("filter-count"), more = document.getElementById("more");
  const rows = [...body.rows].map(row => ({
    row, words: row.textContent.toLowerCase(), verdict: row.cells[0].textContent
  }));
  let most = PAGE;

  function show() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let fit = 0;
    for (const each of rows) {
      const fits = (!verdict.value || each.verdict === verdict.value) && words.every(word => each.words.includes(word));
      fit += fits;
      each.row.hidden = !fits || fit > most;
    }
    const shown = Math.min(fit, most).toLocaleString("en"), all = rows.length.toLocaleString("en");
    count.textContent = `${fit.toLocaleString("en")} of ${all} rows fit` + (fit > most ? `, ${shown} shown` : "");
    more.hidden = fit <= most;
  }

  const key = (row, column) => {
    const cell = row.cells[column], said = cell.dataset.k ?? cell.textContent;
    return said === "" ? null : cell.classList.contains("n") ? Number(said) : said.toLowerCase();
  };
  const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;

  function sort(head, column) {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const each of rows) each.key = key(each.row, column);
    // What says nothing stays last, whichever way.
    rows.sort((a, b) => a.key === null || b.key === null ? (a.key === null) - (b.key === null)
      : (down ? -1 : 1) * compare(a.key, b.key));
    body.append(...rows.map(each => each.row));
    show();
  }

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  const anew = () => { most = PAGE; show(); };
  text.addEventListener("input", anew);
  verdict.addEventListener("change", anew);
  more.addEventListener("click", () => { most += 5 * PAGE; show(); });
  document.getElementById("filters").hidden = false;
  show();
})();
