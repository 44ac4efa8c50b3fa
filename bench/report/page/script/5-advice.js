// Which method for which card: the advisor's figures, compared with the card that the reader chooses.

const GIB = 2 ** 30;

function drawAdvice() {
  const answer = data.advice[byId("question").value];
  const card = answer.cards.find((each) => each.name === byId("card").value);
  const steps = Math.ceil(Math.max(1, Number(byId("examples").value) || 0) / answer.batch_size);
  const rows = answer.candidates.map((candidate) => outlook(candidate, card, steps));
  rows.sort((a, b) => a.rank - b.rank || a.hours - b.hours);
  byId("advice").querySelector("tbody").replaceChildren(...rows.map(({ rank, cells }) => {
    const made = element("tr", "", { class: rank < 2 ? "method" : "failed" });
    made.append(...cells.map((text, place) => element(place ? "td" : "th", text, place === cells.length - 1 ? { class: "status" } : {})));
    return made;
  }));
}

function outlook(candidate, card, steps) {
  const figures = [...candidate.figures].sort((a, b) => b.rows - a.rows);
  if (!figures.length) return { rank: 3, hours: 0, cells: [candidate.label, "", "", "", "", candidate.quality, `not predicted: ${candidate.reason}`] };
  const room = (found, place) => found.device_bytes[card.name][place] <= card.memory_bytes;
  const found = figures.find((each) => room(each, 1)) || figures[figures.length - 1];
  const rank = room(found, 1) ? 0 : room(found, 0) ? 1 : 2;
  const [bytes, most] = found.device_bytes[card.name].map((each) => (each / GIB).toFixed(1));
  const [hours, longest] = found.step_s[card.name].map((seconds) => (seconds * steps) / 3600);
  const verdict = ["fits", "tight", "does not fit"][rank];
  const time = `${hours.toPrecision(2)} ≤${longest.toPrecision(2)}`;
  const file = `${(found.checkpoint_bytes / 2 ** 20).toPrecision(3)} MiB`;
  return { rank, hours, cells: [candidate.label, String(found.rows), `${bytes} ≤${most}`, time, file, candidate.quality, verdict] };
}

function chooseQuestion() {
  const answer = data.advice[byId("question").value];
  options(byId("card"), answer.cards.map((card) => [card.name, `${card.title}, ${(card.memory_bytes / GIB).toFixed(1)} GiB`]), state.card || answer.card);
  byId("examples").value = answer.examples;
  drawAdvice();
}

function startAdvice() {
  options(byId("question"), data.advice.map((answer, place) => [String(place), `${answer.title} · ${answer.family}`]), state.question);
  byId("question").addEventListener("change", () => { remember("question", byId("question").value); chooseQuestion(); });
  byId("card").addEventListener("change", () => { remember("card", byId("card").value); drawAdvice(); });
  byId("examples").addEventListener("input", drawAdvice);
  chooseQuestion();
}
