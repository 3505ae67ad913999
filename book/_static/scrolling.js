// A table, a formula or code wider than the page scrolls in its own box. While it does it takes the
// focus, so that the arrow keys can scroll it too, and fades on the right until its end is in sight.
(() => {
  "use strict";
  const BOXES =
    "mjx-container[display='true'], .ec-scroll, .ec-static, .pst-scrollable-table-container, " +
    ".bd-article .highlight pre, .cell_output div.text_html:has(table.dataframe)";
  const look = (box) => {
    const hidden = box.scrollWidth - box.clientWidth;
    if (hidden > 0) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    box.classList.toggle("ec-more", hidden - box.scrollLeft > 1);
  };
  const watch = new ResizeObserver((seen) => seen.forEach(({ target }) => look(target)));
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    for (const box of document.querySelectorAll(BOXES)) {
      watch.observe(box);
      box.addEventListener("scroll", () => look(box), { passive: true });
    }
  });
})();
