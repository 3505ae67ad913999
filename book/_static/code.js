// One switch for the code of all a page's cells, in place of a bar above each; book.css hides these
// where scripts run. The page has the switch from the start (book/_ext/figures.py).
(() => {
  "use strict";
  const button = document.querySelector(".ec-code-switch");
  const cells = document.querySelectorAll("details.above-input");
  button?.addEventListener("click", () => {
    const shown = document.documentElement.classList.toggle("ec-code");
    for (const cell of cells) cell.open = shown;
    button.textContent = shown ? "Hide the code" : "Show the code";
  });
})();
