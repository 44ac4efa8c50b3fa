// Filters and sorting of the tables.

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
  for (const words of all(".words")) words.hidden = wanted.method !== ""; // they speak of all methods
  for (const ranks of all(".ranks")) ranks.hidden = Object.values(wanted).some((each) => each !== "");
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
  const first = number && header.dataset.better !== "-1" ? "descending" : "ascending"; // the best first
  const order = header.ariaSort !== first ? first : first === "ascending" ? "descending" : "ascending";
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
