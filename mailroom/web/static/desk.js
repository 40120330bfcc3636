// The review desk by keyboard: 1-5 choose, Enter confirms, / searches the tree, n says that none fits, u undoes, s skips.
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
  } else if (event.key === "n") {
    press("outside");
  } else if (event.key === "s") {
    press("skip");
  } else if (/^[1-5]$/.test(event.key)) {
    const choice = form() && form().querySelector(`input[data-key="${event.key}"]`);
    if (choice && choice.offsetParent) {
      choice.checked = true;
      choice.focus();
    }
  } else {
    return;
  }
});

// The form works without this; with it the next email comes without loading the page again.
let busy = false;
document.addEventListener("submit", async (event) => {
  if (event.target.id !== "answer") return;
  event.preventDefault();
  if (busy) return;
  busy = true;
  try {
    const fields = new URLSearchParams(new FormData(event.target));
    fields.set("action", event.submitter ? event.submitter.value : "answer");
    const answer = await fetch("/review", { method: "POST", body: fields, headers: { "HX-Request": "true" } });
    if (!answer.ok || answer.redirected) throw new Error(`${answer.status}`);
    const desk = document.getElementById("desk");
    desk.innerHTML = await answer.text();
    window.htmx.process(desk);
    window.scrollTo(0, 0);
  } catch {
    window.location.reload();
  } finally {
    busy = false;
  }
});
