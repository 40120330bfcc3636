// The picture is refreshed every few seconds, but never under the hands of somebody who walks it by keyboard.
"use strict";

document.addEventListener("htmx:beforeRequest", (event) => {
  const live = document.getElementById("live");
  if (document.hidden || live.contains(document.activeElement)) event.preventDefault();
});
