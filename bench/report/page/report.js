"use strict";
// The report page: filters and sorts its tables, draws its plots, shows single runs. It reads the data that the page
// carries and writes text alone, never markup, so that nothing in a record can become part of the page.

const data = JSON.parse(document.getElementById("data").textContent);
const state = restore();
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---------------------------------------------------------------- elements and state

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function restore() {
  try {
    return JSON.parse(sessionStorage.getItem("tunebench") || "{}");
  } catch {
    return {}; // no storage here, or not ours
  }
}

function remember(key, value) {
  state[key] = value;
  try {
    sessionStorage.setItem("tunebench", JSON.stringify(state));
  } catch {
    // the page works without
  }
}

function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => element("option", text, { value })));
  select.value = choices.some(([value]) => value === chosen) ? chosen : choices.length ? choices[0][0] : "";
}

// ---------------------------------------------------------------- theme

const THEMES = ["system", "light", "dark"];

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function applyTheme() {
  const theme = state.theme || "system";
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `theme: ${theme}`;
}

// ---------------------------------------------------------------- filters and sorting

function filters() {
  return Object.fromEntries(all("[data-filter]").map((select) => [select.dataset.filter, select.value]));
}

function fits(section, wanted) {
  return ["model", "task", "hardware"].every((key) => !wanted[key] || section[key] === wanted[key]);
}

function rowFits(row, wanted) {
  return row.base || !wanted.method || row.method === wanted.method;
}

function applyFilters() {
  const wanted = filters();
  for (const place of all("section.setting")) {
    const section = data.sections[place.dataset.index];
    const rows = all("tbody tr", place);
    for (const row of rows) row.hidden = !rowFits(section.rows[row.dataset.row], wanted);
    const any = section.rows.some((row) => !row.base && rowFits(row, wanted));
    place.hidden = !fits(section, wanted) || (wanted.method !== "" && !any);
  }
  for (const item of all(".toc li")) {
    const index = item.querySelector("a").hash.split("=")[1];
    item.hidden = byId(`setting=${index}`).hidden;
  }
  const visible = all("section.setting").filter((place) => !place.hidden).map((place) => place.dataset.index);
  options(byId("setting"), visible.map((index) => [index, data.sections[index].title]), state.setting);
  byId("plots").hidden = !visible.length;
  chooseSetting();
}

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const body = table.tBodies[0];
  const number = column > 0 && !header.classList.contains("status");
  const first = number ? "descending" : "ascending";
  const order = header.ariaSort === first ? (number ? "ascending" : "descending") : first;
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const key = (row) => {
    const cell = row.children[column];
    if (!number) return cell.textContent.toLowerCase();
    return cell.dataset.value === "" || cell.dataset.value === "nan" ? NaN : Number(cell.dataset.value);
  };
  const sign = order === "ascending" ? 1 : -1;
  const compare = (a, b) => {
    const [one, two] = [key(a), key(b)];
    if (number && (Number.isNaN(one) || Number.isNaN(two))) return Number.isNaN(one) - Number.isNaN(two);
    return one < two ? -sign : one > two ? sign : 0;
  };
  const failed = (row) => row.classList.contains("failed");
  body.append(...[...body.rows].sort((a, b) => failed(a) - failed(b) || compare(a, b)));
}

// ---------------------------------------------------------------- plots

const ROW = 28; // pixels of a bar with its gap

function fill(name, rows, look, changes = {}) {
  const spec = structuredClone(data.charts[name]);
  const present = new Set(rows.map((row) => row.label));
  const drawn = look.filter((each) => present.has(each.label));
  spec.data = { values: rows };
  for (const place of [spec, ...(spec.layer || [])].map((part) => part.encoding || {})) {
    for (const [channel, key] of [["color", "color"], ["shape", "shape"], ["strokeDash", "dash"]]) {
      if (place[channel]?.field !== "label") continue;
      place[channel].scale = { domain: drawn.map((each) => each.label), range: drawn.map((each) => each[key]) };
    }
    for (const axis of ["x", "y"]) {
      if (place[axis]?.type !== "quantitative") continue;
      place[axis].title = changes[axis];
      if (changes[`log_${axis}`]) place[axis].scale = { type: "log" };
    }
  }
  for (const transform of spec.transform || []) transform.frame = [-changes.half, changes.half];
  spec.height ??= ROW * drawn.length;
  return spec;
}

async function draw(name, spec) {
  const place = document.querySelector(`#${name} .chart`);
  const config = { ...data.config[dark() ? "dark" : "light"], background: "transparent" };
  const actions = { export: true, source: false, compiled: false, editor: false };
  const sections = { renderer: "svg", ast: true, config, actions, downloadFileName: `tunebench-${name}` };
  try {
    await vegaEmbed(place, spec, sections);
  } catch (error) {
    place.textContent = `This plot could not be drawn: ${error.message}`;
    throw error;
  }
}

function current() {
  const section = data.sections[byId("setting").value];
  const wanted = filters();
  const rows = section.rows.filter((row) => rowFits(row, wanted));
  const labels = new Set(rows.map((row) => row.label));
  return { section, rows, labels };
}

function chooseSetting() {
  const section = data.sections[byId("setting").value];
  if (!section) return;
  const choices = section.axes.map((axis) => [axis.key, axis.title]);
  options(document.querySelector("[data-axis=x]"), choices, state.x || section.cost);
  options(document.querySelector("[data-axis=y]"), choices, state.y || section.main);
  drawAll();
}

function onFront(point, others, x, y) {
  const gain = (other, axis, better) => better * (other[axis] - point[axis]);
  return !others.some((other) => {
    const gains = [gain(other, "x", x.better), gain(other, "y", y.better)];
    return gains.every((each) => each >= 0) && gains.some((each) => each > 0);
  });
}

// An axis of several orders of magnitude is easier to read in logarithms.
function wide(points, axis) {
  const values = points.flatMap((point) => [point[axis], point[`${axis}_low`]]);
  return Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 50;
}

function drawPareto() {
  const { section, rows } = current();
  const [x, y] = ["x", "y"].map((axis) => {
    const key = document.querySelector(`[data-axis=${axis}]`).value;
    return section.axes.find((each) => each.key === key);
  });
  byId("pareto").hidden = !x || !y;
  if (!x || !y) return;
  const points = rows.flatMap((row) => {
    const [across, up] = [row.values[x.key], row.values[y.key]];
    if (!across || !up) return [];
    const place = { x: across[0], x_low: across[1], x_high: across[2], y: up[0], y_low: up[1], y_high: up[2] };
    return [{ label: row.label, base: row.base, shown_x: across[3], shown_y: up[3], ...place }];
  });
  const rated = x.better !== 0 && y.better !== 0;
  for (const point of points) point.front = rated && onFront(point, points, x, y);
  const titles = { x: titled(x), y: titled(y), log_x: wide(points, "x"), log_y: wide(points, "y") };
  draw("pareto", fill("pareto", points, section.look, titles));
}

function titled(axis) {
  return axis.title + (axis.better > 0 ? " (more is better)" : axis.better < 0 ? " (less is better)" : "");
}

function drawLoss() {
  const { section, rows } = current();
  const over = document.querySelector("[data-over]").value;
  const smooth = document.querySelector("[data-smooth]").value;
  let longest = 0;
  const points = rows.flatMap((row) => {
    if (!row.curve) return [];
    longest = Math.max(longest, row.curve.steps.length);
    return row.curve[over].map((x, index) => ({
      label: row.label, x, mean: row.curve.mean[index], low: row.curve.low[index], high: row.curve.high[index],
    }));
  });
  const half = smooth ? Math.round(longest * data.smoothed) : 0;
  const titles = { steps: "steps", tokens: "non-padding tokens", seconds: "seconds of step time" };
  byId("loss").hidden = !points.length;
  if (points.length) draw("loss", fill("loss", points, section.look, { x: titles[over], y: "loss (nats)", half }));
}

function drawBars(name, x) {
  const { section, labels } = current();
  const rows = section[name].filter((row) => labels.has(row.label));
  byId(name).hidden = !rows.length;
  if (rows.length) draw(name, fill(name, rows, section.look, { x }));
}

function drawAll() {
  drawPareto();
  drawLoss();
  drawBars("memory", `peak (${current().section.memory_unit})`);
  drawBars("throughput", "tokens per second");
}

// ---------------------------------------------------------------- one run

function pairs(value, prefix = "") {
  if (value === null || value === undefined) return [];
  if (typeof value !== "object") return [[prefix, value]];
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return [[prefix, value.join(", ")]];
  return Object.entries(value).flatMap(([key, item]) => pairs(item, prefix ? `${prefix}.${key}` : key));
}

function list(found) {
  const made = element("dl");
  for (const [key, value] of found) made.append(element("dt", key), element("dd", shown(key, value)));
  return made;
}

function shown(key, value) {
  if (typeof value !== "number") return String(value);
  if (key.endsWith("_bytes")) return `${value.toLocaleString("en")} (${(value / 2 ** 20).toPrecision(4)} MiB)`;
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(6)));
}

function block(title, content, open = true) {
  const made = element("details");
  made.open = open;
  made.append(element("summary", title), content);
  return made;
}

function grid(titles, rows) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const title of titles) head.append(element("th", title, { scope: "col" }));
  const body = table.createTBody();
  for (const [name, ...cells] of rows) {
    const row = body.insertRow();
    row.append(element("th", name, { scope: "row" }), ...cells.map((cell) => element("td", cell)));
  }
  const place = element("div", "", { class: "wide" });
  place.append(table);
  return place;
}

function phases(run) {
  const mib = (bytes) => (bytes === null ? "" : (bytes / 2 ** 20).toFixed(1));
  const rows = run.phases.map((phase) => {
    const peaks = [phase.peak_allocated_bytes, phase.peak_reserved_bytes, phase.peak_device_bytes];
    const seconds = phase.seconds === null ? "" : phase.seconds.toFixed(2);
    return [phase.name, seconds, ...peaks.map(mib), String(phase.energy_j ?? "")];
  });
  return grid(["phase", "seconds", "peak (MiB)", "reserved (MiB)", "device (MiB)", "energy (J)"], rows);
}

function scores(evaluation) {
  const splits = [evaluation.validation, evaluation.test];
  const row = (name, read) => [name, ...splits.map((split) => (split ? shown(name, read(split) ?? "") : ""))];
  const metrics = new Set(splits.flatMap((split) => Object.keys(split?.metrics ?? {})));
  const rows = [row("examples", (split) => split.examples), row("loss", (split) => split.loss)];
  for (const name of metrics) rows.push(row(name, (split) => split.metrics[name]?.value));
  const { general_loss, forgetting, decoding } = evaluation;
  const made = element("div");
  made.append(grid(["", "validation", "test"], rows), list(pairs({ general_loss, forgetting, decoding })));
  return made;
}

function showRun(index) {
  const run = data.runs[index];
  const page = byId("run");
  const section = data.sections[run.section];
  const back = element("p");
  const siblings = section.rows.find((row) => row.runs.includes(index)).runs.filter((other) => other !== index);
  back.append(element("a", `← ${section.title}`, { href: `#setting=${run.section}` }));
  for (const other of siblings) {
    back.append(" · ", element("a", `seed ${data.runs[other].seed}`, { href: `#run=${other}` }));
  }
  page.replaceChildren(back, element("h2", run.run_id));
  const names = ["method", "model", "task", "seed", "status", "failed_phase", "reason", "started_at", "finished_at", "folder"];
  page.append(list(names.filter((name) => run[name] !== null && run[name] !== "").map((name) => [name, run[name]])));
  const blocks = element("div", "", { class: "blocks" });
  if (run.history.length) blocks.append(block("Earlier attempts", element("pre", run.history.join("\n"))));
  if (run.traceback) blocks.append(block("Traceback", element("pre", run.traceback)));
  if (run.evaluation) blocks.append(block("What it gives", scores(run.evaluation)));
  if (run.phases.length) blocks.append(block("Phases", phases(run)));
  if (run.training) blocks.append(block("Training", list(pairs(run.training))));
  const size = pairs({ parameters: run.parameters, checkpoint_bytes: run.checkpoint_bytes });
  if (size.length) blocks.append(block("Size", list(size)));
  if (run.source) blocks.append(block("Imported", list(pairs(run.source))));
  for (const [name, title] of [["config", "Configuration"], ["data", "Data"], ["environment", "Environment"]]) {
    const found = pairs(data.parts[run[name]]);
    if (found.length) blocks.append(block(title, list(found), false));
  }
  page.append(blocks, block("Log (its end)", element("pre", run.log || "no log"), run.status !== "ok"));
}

function route() {
  const run = /^#run=(\d+)$/.exec(location.hash);
  const found = run && data.runs[Number(run[1])];
  byId("overview").hidden = Boolean(found);
  byId("run").hidden = !found;
  if (found) {
    showRun(Number(run[1]));
    scrollTo(0, 0);
  } else {
    if (!byId("setting")) return;
    const place = /^#(setting|plots)=(\d+)$/.exec(location.hash);
    if (place && all("option", byId("setting")).some((option) => option.value === place[2])) {
      remember("setting", place[2]);
      byId("setting").value = place[2];
    }
    chooseSetting(); // plots that were hidden have had no width
    if (place) byId(place[1] === "plots" ? "plots" : location.hash.slice(1))?.scrollIntoView();
  }
}

// ---------------------------------------------------------------- while a sweep runs

async function follow() {
  try {
    const answer = await (await fetch("status")).json();
    byId("live").hidden = !answer.sweeps.length;
    byId("live").textContent = answer.sweeps.join("\n");
    if (answer.version !== data.version) location.reload();
  } catch {
    byId("live").hidden = false;
    byId("live").textContent = "The server does not answer; this page shows what it last had.";
  }
  setTimeout(follow, 2000);
}

// ---------------------------------------------------------------- start

function start() {
  applyTheme();
  byId("theme").addEventListener("click", () => {
    remember("theme", THEMES[(THEMES.indexOf(state.theme || "system") + 1) % THEMES.length]);
    applyTheme();
    if (data.sections.length) drawAll();
  });
  if (data.sections.length) {
    for (const select of all("[data-filter]")) {
      const key = select.dataset.filter;
      const rows = data.sections.flatMap((section) => section.rows);
      const values = key === "method" ? rows.filter((row) => !row.base).map((row) => row.method) : data.sections.map((s) => s[key]);
      options(select, [["", "all"], ...[...new Set(values)].sort().map((value) => [value, value])], state[key]);
      select.addEventListener("change", () => { remember(key, select.value); applyFilters(); });
    }
    for (const header of all("section.setting thead th")) {
      header.querySelector("button").addEventListener("click", () => sortBy(header));
    }
    byId("setting").addEventListener("change", () => { remember("setting", byId("setting").value); chooseSetting(); });
    for (const select of all("[data-axis]")) {
      select.addEventListener("change", () => { remember(select.dataset.axis, select.value); drawPareto(); });
    }
    for (const select of all("[data-over], [data-smooth]")) select.addEventListener("change", drawLoss);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    applyFilters();
  }
  addEventListener("hashchange", route);
  if (location.hash) route();
  if (data.version) follow();
}

start();
