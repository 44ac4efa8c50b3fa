// What happens when the page is opened, and while a sweep runs.

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
  if (data.advice.length) startAdvice();
  addEventListener("hashchange", route);
  if (location.hash) route();
  if (data.version) follow();
}

start();
