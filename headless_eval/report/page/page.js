"use strict";
// The table of episodes: sorted and filtered as indices, of which one page at a time becomes rows.
(() => {
  const PAGE = 50;
  const STATUS = { s: "success", f: "failure", e: "error" };
  const PAIRS = ["", "lost", "same", "gained"];
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);

  const episodes = unpack(data);
  const all = Uint32Array.from({ length: episodes.count }, (_, index) => index);
  const state = { sort: null, down: false, page: 0, shown: all };

  function unpack({ blocks, baseline }) {
    const count = blocks.reduce((sum, block) => sum + block.episode.length, 0);
    const column = (type) => new type(count);
    const result = {
      count,
      block: column(Uint32Array), configuration: column(Uint16Array), task: column(Uint32Array),
      episode: column(Uint32Array), status: column(Uint8Array), steps: column(Int32Array),
      replans: column(Int32Array), seconds: column(Float32Array), pair: column(Uint8Array),
      twin: column(Int32Array).fill(-1), reason: column(Int16Array).fill(-1), error: new Map(), path: new Map(), seed: new Map(),
    };
    const reference = new Map(), alone = blocks.map((block) => new Set(block.alone));
    const name = (task, episode) => `${task} ${episode}`;
    let row = 0;
    blocks.forEach((block, index) => {
      let errors = 0, failures = 0, paths = 0;
      block.episode.forEach((episode, place) => {
        result.block[row] = index;
        result.configuration[row] = block.c;
        result.task[row] = block.t;
        result.episode[row] = episode;
        result.status[row] = "sfe".indexOf(block.status[place]);
        // What another evaluator did not record is null, and -1 in these columns.
        result.steps[row] = block.steps[place] ?? -1;
        result.replans[row] = block.replans[place] ?? -1;
        result.seconds[row] = (block.tenths[place] ?? -10) / 10;
        result.seed.set(row, block.seeds ? block.seeds[place] : block.seed);
        if (block.status[place] === "f") result.reason[row] = block.reason[failures++];
        if (block.status[place] === "e") result.error.set(row, block.error[errors++]);
        if (block.video[place] === "?") result.path.set(row, block.paths[paths++]);
        else if (block.video[place] === "+") result.path.set(row, usualPath(block, place));
        if (block.c === baseline) reference.set(name(block.t, episode), row);
        row += 1;
      });
    });
    for (row = 0; row < count; row += 1) {
      const twin = reference.get(name(result.task[row], result.episode[row]));
      if (twin === undefined || result.configuration[row] === baseline) continue;
      if (alone[result.block[row]].has(result.episode[row])) continue;
      result.twin[row] = twin;
      const mine = result.status[row], other = result.status[twin];
      if (mine < 2 && other < 2) result.pair[row] = 2 + other - mine;
    }
    return result;
  }

  function usualPath(block, place) {
    const number = String(block.episode[place]).padStart(3, "0");
    const task = data.tasks[block.t][0];
    return `videos/${data.configurations[block.c]}/${task}_ep${number}_${STATUS[block.status[place]]}.mp4`;
  }

  // Elements; text only ever becomes text nodes.
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  // A number as text, or what stands for a number that is not recorded.
  function known(number, text = String, otherwise = "–") {
    return number < 0 ? otherwise : text(number);
  }

  // A name that may be broken after each underscore, for narrow screens.
  const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]);

  // Filters

  const filters = ["configuration", "task", "status", "pair", "text"].map((name) => find(`by-${name}`));
  const [byConfiguration, byTask, byStatus, byPair, byText] = filters;
  data.configurations.forEach((name, index) => byConfiguration.append(make("option", { value: index }, name)));
  data.tasks.forEach(([, name], index) => byTask.append(make("option", { value: index }, name)));

  function filtered() {
    const configuration = byConfiguration.value, task = byTask.value, pair = PAIRS.indexOf(byPair.value);
    const status = "sfe".indexOf(byStatus.value || "-");
    const matches = textMatcher(byText.value.trim().toLowerCase());
    return all.filter((row) =>
      (configuration === "" || episodes.configuration[row] === Number(configuration)) &&
      (task === "" || episodes.task[row] === Number(task)) &&
      (status < 0 || episodes.status[row] === status) &&
      (pair === 0 || episodes.pair[row] === pair) &&
      matches(row));
  }

  function textMatcher(text) {
    if (text === "") return () => true;
    if (/^\d+$/.test(text)) return (row) => episodes.episode[row] === Number(text);
    const has = (parts) => parts.some((part) => part.toLowerCase().includes(text));
    const configurations = data.configurations.map((name) => has([name]));
    const tasks = data.tasks.map(has);
    const errors = data.errors.map(has), reasons = data.reasons.map((reason) => has([reason]));
    return (row) => configurations[episodes.configuration[row]] || tasks[episodes.task[row]] ||
      errors[episodes.error.get(row)] === true || reasons[episodes.reason[row]] === true;
  }

  // Sorting

  const heads = [...document.querySelectorAll("#table [data-sort]")];
  function sorted(rows) {
    if (state.sort === null) return rows;
    const column = episodes[state.sort], sign = state.down ? -1 : 1;
    return rows.slice().sort((one, other) => sign * (column[one] - column[other]) || one - other);
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      state.down = state.sort === head.dataset.sort && !state.down;
      state.sort = head.dataset.sort;
      for (const one of heads) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      update();
    });
  }

  // Rows

  const body = document.querySelector("#table tbody");
  function update() {
    state.shown = sorted(filtered());
    state.page = 0;
    render();
  }

  function render() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * PAGE;
    const rows = state.shown.slice(first, first + PAGE);
    body.replaceChildren(...[...rows].map(rowOf));
    const format = (number) => number.toLocaleString("en");
    find("count").textContent = rows.length === 0
      ? "No episode matches."
      : `${format(first + 1)} to ${format(first + rows.length)} of ${format(state.shown.length)}` +
        (state.shown.length < all.length ? ` (${format(all.length)} in all)` : "");
    find("place").textContent = `Page ${format(state.page + 1)} of ${format(pages)}`;
    find("pager").hidden = pages === 1;
    for (const button of find("pager").querySelectorAll("button")) {
      button.disabled = ["first", "back"].includes(button.dataset.go) ? state.page === 0 : state.page === pages - 1;
    }
  }

  function rowOf(row) {
    const status = STATUS["sfe"[episodes.status[row]]];
    const [, name] = data.tasks[episodes.task[row]];
    const configuration = data.configurations[episodes.configuration[row]];
    const opener = make("button", {
      type: "button", class: "opener", "aria-expanded": "false",
      "aria-label": `Details of ${configuration}, ${name}, episode ${episodes.episode[row]}`,
    });
    const pair = PAIRS[episodes.pair[row]];
    const element = make("tr", { class: "row" },
      make("td", {}, opener),
      make("td", {}, ...breakable(configuration)),
      make("td", {}, name),
      make("td", {}, String(episodes.episode[row])),
      make("td", {}, make("span", { class: `badge ${status}` }, status), ...reasonOf(row)),
      make("td", { class: pair }, pair),
      make("td", { class: "spare" }, `${known(episodes.steps[row])} / ${data.blocks[episodes.block[row]].max ?? "–"}`),
      make("td", { class: "spare" }, known(episodes.seconds[row], (seconds) => seconds.toFixed(1))));
    element.addEventListener("click", () => toggle(row, element, opener));
    return element;
  }

  function reasonOf(row) {
    const reason = data.reasons[episodes.reason[row]];
    return reason === undefined ? [] : [" ", make("span", { class: "reason" }, reason)];
  }

  function toggle(row, element, opener) {
    const open = opener.getAttribute("aria-expanded") === "true";
    opener.setAttribute("aria-expanded", String(!open));
    if (open) element.nextElementSibling.remove();
    else element.after(detailOf(row));
  }

  // Details: the videos side by side, and what went wrong

  function detailOf(row) {
    const twin = episodes.twin[row];
    const block = data.blocks[episodes.block[row]];
    const [key, , instruction] = data.tasks[episodes.task[row]];
    const sheet = make("div", { class: "sheet" });
    const seed = episodes.seed.get(row) ?? null;
    const place = `${key}, episode ${episodes.episode[row]}${seed === null ? "" : `, seed ${seed}`}`;
    const steps = known(episodes.steps[row], (number) => (
      block.max === null ? `${number} steps` : `${number} of ${block.max} steps`), "");
    const chunks = known(episodes.replans[row], (number) => `${number} action chunks`, "");
    const facts = [instruction && `“${instruction}”`, place, [steps, chunks].filter(Boolean).join(", ")];
    sheet.append(make("p", { class: "facts" }, facts.filter(Boolean).join(" · ")));
    const videos = make("div", { class: "videos" }, videoOf(row));
    if (twin >= 0) videos.append(videoOf(twin));
    sheet.append(videos);
    const players = [...videos.querySelectorAll("video")];
    if (players.length === 2) sheet.append(playBoth(players));
    for (const one of twin >= 0 ? [row, twin] : [row]) {
      if (episodes.error.has(one)) sheet.append(errorOf(one));
    }
    const asked = stripsOf(row);
    if (asked) sheet.append(asked);
    return make("tr", { class: "detail" }, make("td", { colspan: heads.length + 1 }, sheet));
  }

  function videoOf(row) {
    const configuration = data.configurations[episodes.configuration[row]];
    const status = STATUS["sfe"[episodes.status[row]]];
    const path = episodes.path.get(row);
    const figure = make("figure", {}, make("figcaption", {}, make("b", {}, configuration), ` ${status}`, ...reasonOf(row)));
    if (path === undefined) {
      figure.append(make("div", { class: "missing" }, "No video is here."));
      return figure;
    }
    // "./" and encoding keep any path below this page's folder.
    const source = `./${path.split("/").map(encodeURIComponent).join("/")}`;
    const video = make("video", {
      src: source, controls: "", preload: "auto", playsinline: "", "aria-label": `${configuration}: ${status}`,
    });
    video.muted = true;
    video.addEventListener("error", () => {
      video.closest(".sheet")?.querySelector(".both")?.remove();
      video.replaceWith(make("div", { class: "missing" }, `The video is not there: ${path}`));
    });
    figure.append(video);
    return figure;
  }

  function playBoth(players) {
    const button = make("button", { type: "button", class: "both" }, "Play both from the start");
    button.addEventListener("click", () => {
      for (const player of players) {
        player.currentTime = 0;
        player.play().catch(() => {});
      }
    });
    return button;
  }

  // What this precision would have done on the baseline's path: a row per dimension of the action, a box per replan.
  function stripsOf(row) {
    const found = data.divergence, configuration = data.configurations[episodes.configuration[row]];
    const task = data.tasks[episodes.task[row]][0];
    const strips = found?.paths[configuration]?.[task]?.[episodes.episode[row]];
    if (strips === undefined) return null;
    const place = (letter) => parseInt(letter, 36) / 35;
    const size = (share) => Number((10 ** (found.low + share * (found.high - found.low))).toPrecision(1));
    const baseline = data.configurations[data.baseline];
    const figure = make("figure", { class: "asked" },
      make("figcaption", {}, make("b", {}, `Asked on the path of ${baseline}`), ": error by dimension and replan"));
    strips.forEach((letters, dimension) => {
      const name = found.dims[dimension], finite = [...letters].filter((letter) => letter !== "-");
      const most = finite.length ? `about ${size(Math.max(...finite.map(place)))} at most` : "no finite number";
      const drawing = drawn("svg", { class: "strip", height: 12, role: "img", "aria-label": `${name}: ${most}` });
      [...letters].forEach((letter, replan) => {
        const width = 100 / letters.length, known = letter !== "-";
        const box = drawn("rect", {
          x: `${replan * width}%`, width: `${width}%`, height: 12, class: known ? "cell" : "broken",
          "fill-opacity": known ? 0.04 + 0.96 * place(letter) : 1,
        });
        const title = drawn("title", {});
        title.textContent = `${name}, replan ${replan}: ${known ? `about ${size(place(letter))}` : "no finite number"}`;
        box.append(title);
        drawing.append(box);
      });
      figure.append(make("p", {}, make("span", {}, name), drawing));
    });
    return figure;
  }

  function drawn(name, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function errorOf(row) {
    const configuration = data.configurations[episodes.configuration[row]];
    const error = data.errors[episodes.error.get(row)];
    if (error === undefined) {
      return make("p", { class: "bad" }, `${configuration}: the error is in journal.jsonl (too many for this page).`);
    }
    const [type, message, traceback] = error;
    return make("details", {},
      make("summary", {}, make("span", { class: "bad" }, `${configuration}: ${type}`), ` ${message}`),
      make("pre", { tabindex: "0" }, traceback));
  }

  // Start

  for (const filter of filters) filter.addEventListener("input", update);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  const moves = { first: () => 0, back: (page) => page - 1, next: (page) => page + 1, last: () => Infinity };
  find("pager").addEventListener("click", (event) => {
    const move = moves[event.target.dataset.go];
    if (move === undefined) return;
    state.page = move(state.page);
    render();
    find("table").scrollIntoView({ block: "nearest" });
  });
  update();
})();
