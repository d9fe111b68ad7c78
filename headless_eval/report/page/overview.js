"use strict";
// Filters of the list of runs: rows that do not match are hidden, and of those that do, the precisions not asked for.
(() => {
  const find = (id) => document.getElementById(id);
  const names = ["suite", "policy", "status"];
  const rows = [...document.querySelectorAll("#runs tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());

  function update() {
    const wanted = names.map((name) => find(`by-${name}`).value);
    const precision = find("by-precision").value;
    const text = find("by-text").value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, index) => {
      let has = precision === "";
      for (const line of row.querySelectorAll("[data-precision]")) {
        const same = line.dataset.precision === precision;
        line.hidden = precision !== "" && !same;
        has = has || same;
      }
      for (const details of row.querySelectorAll("details")) details.open = precision !== "";
      const matches = names.every((name, place) => wanted[place] === "" || row.dataset[name] === wanted[place]);
      row.hidden = !(has && matches && texts[index].includes(text));
      shown += row.hidden ? 0 : 1;
    });
    find("count").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} runs`;
  }

  find("filters").addEventListener("input", update);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  update();
})();
