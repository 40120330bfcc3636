// The review desk by keyboard: 1-5 choose, Enter confirms, / searches the tree, u undoes, s skips.
"use strict";

const form = () => document.getElementById("answer");
const press = (action) => {
  const button = form() && form().querySelector(`button[value="${action}"]:not([disabled])`);
  if (button) button.click();
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const search = document.getElementById("q");
  const typing = event.target === search;
  if (typing) {
    if (event.key === "Escape") search.blur();
    if (event.key === "Enter" && form().querySelector("input[data-found]:checked")) {
      event.preventDefault();
      press("answer");
    }
    return;
  }
  if (event.key === "Enter") {
    if (event.target.closest("a, summary, button")) return;
    event.preventDefault();
    press("answer");
  } else if (event.key === "/") {
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "u") {
    press("undo");
  } else if (event.key === "s") {
    press("skip");
  } else if (/^[1-5]$/.test(event.key)) {
    const choice = form() && form().querySelector(`input[data-key="${event.key}"]`);
    if (choice) {
      choice.checked = true;
      choice.focus();
    }
  } else {
    return;
  }
});

document.addEventListener("htmx:responseError", (event) => {
  const status = event.detail.xhr.status;
  if (status === 401 || status === 403) window.location.reload();
});
