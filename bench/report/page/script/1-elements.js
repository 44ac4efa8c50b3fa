"use strict";
// The script of the report page is the files of this folder, one after the other. It reads the data that the page
// carries and writes text alone, never markup, so that nothing in a record can become part of the page.
//
// The data of the page, its elements, what the reader has chosen, and the theme.

const data = JSON.parse(document.getElementById("data").textContent);
const STORE = `tunebench ${location.pathname}`; // what was chosen on one report says nothing of another
const state = restore();
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function restore() {
  try {
    return Object(JSON.parse(sessionStorage.getItem(STORE)));
  } catch {
    return {}; // no storage here, or not ours
  }
}

function remember(key, value) {
  state[key] = value;
  try {
    sessionStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    // the page works without
  }
}

function options(select, choices, chosen) {
  select.replaceChildren(...choices.map(([value, text]) => element("option", text, { value })));
  select.value = choices.some(([value]) => value === chosen) ? chosen : choices.length ? choices[0][0] : "";
}

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
