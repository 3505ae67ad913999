// Paper is light: a page read in the dark prints in the light theme, and turns back afterwards.
(() => {
  "use strict";
  const root = document.documentElement;
  let reading;
  addEventListener("beforeprint", () => {
    reading = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => (root.dataset.theme = reading));
})();
