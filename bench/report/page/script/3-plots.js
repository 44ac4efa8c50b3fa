// The plots of the setting that is chosen, drawn by Vega.

const NARROW = 480; // pixels of a plot from which on its legend has room for more than a column or two
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
  if (place.clientWidth < NARROW) {
    const columns = spec.data.values.some((row) => row.label.length > 12) ? 1 : 2;
    config.legend = { ...config.legend, columns, labelLimit: place.clientWidth / columns - 90 };
  }
  const actions = { export: true, source: false, compiled: false, editor: false };
  const options = { renderer: "svg", ast: true, config, actions, downloadFileName: `tunebench-${name}` };
  try {
    await vegaEmbed(place, spec, options);
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
  byId("pareto").hidden = true;
  if (!x || !y) return;
  const points = rows.flatMap((row) => {
    const [across, up] = [row.values[x.key], row.values[y.key]];
    if (!across || !up) return [];
    const place = { x: across[0], x_low: across[1], x_high: across[2], y: up[0], y_low: up[1], y_high: up[2] };
    return [{ label: row.label, base: row.base, shown_x: across[3], shown_y: up[3], ...place }];
  });
  if (!points.length) return;
  byId("pareto").hidden = false;
  const rated = x.better !== 0 && y.better !== 0;
  for (const point of points) point.front = rated && onFront(point, points, x, y);
  const titles = { x: titled(x), y: titled(y), log_x: !x.quality && wide(points, "x"), log_y: !y.quality && wide(points, "y") };
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
  if (points.length) draw("loss", fill("loss", points, section.look, { x: titles[over], y: "training loss (nats)", half }));
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
