// One switch for the code of all a page's cells, in place of a bar above each; book.css hides these
// where scripts run.
(() => {
  "use strict";
  const cells = document.querySelectorAll("details.above-input");
  if (!cells.length) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "ec-code-switch";
  const show = (shown) => {
    document.documentElement.classList.toggle("ec-code", shown);
    for (const cell of cells) cell.open = shown;
    button.setAttribute("aria-pressed", shown);
    button.textContent = shown ? "Hide the code" : "Show the code";
  };
  button.addEventListener("click", () => show(button.getAttribute("aria-pressed") === "false"));
  show(false);
  document.querySelector(".bd-article h1").after(button);
})();
