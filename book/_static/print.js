// Paper is light: a page read in the dark prints in the light theme, and turns back afterwards.
// What is folded there can't be opened: claims print with their numbers.
(() => {
  "use strict";
  const root = document.documentElement;
  let reading;
  addEventListener("beforeprint", () => {
    reading = root.dataset.theme;
    root.dataset.theme = "light";
    document.querySelectorAll("details.ec-claim").forEach((claim) => (claim.open = true));
  });
  addEventListener("afterprint", () => (root.dataset.theme = reading));
})();
