// The page of a single run, and which page is shown.

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
    if (place && data.sections[place[2]]) {
      if (byId(`setting=${place[2]}`).hidden) {
        for (const select of all("[data-filter]")) select.value = ""; // it was filtered out
        applyFilters();
      }
      remember("setting", place[2]);
      byId("setting").value = place[2];
    }
    chooseSetting(); // plots that were hidden have had no width
    if (place) byId(place[1] === "plots" ? "plots" : location.hash.slice(1))?.scrollIntoView();
  }
}
