// A table, a formula or code wider than the page scrolls in its own box. While it does it takes the
// focus, so that the arrow keys can scroll it too, and fades on the right until its end is in sight.
(() => {
  "use strict";
  const BOXES =
    "mjx-container[display='true'], .ec-scroll, .ec-live, .ec-static, .pst-scrollable-table-container, " +
    ".bd-article .highlight pre, .cell_output div.text_html";
  // in script: `:has()`, which Firefox knows since version 121, would throw in an older one
  const mayScroll = (box) => !box.matches(".text_html") || box.querySelector("table.dataframe");
  const look = (box) => {
    const hidden = box.scrollWidth - box.clientWidth;
    if (hidden > 0) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    box.classList.toggle("ec-more", hidden - box.scrollLeft > 1);
  };
  const watch = new ResizeObserver((seen) => seen.forEach(({ target }) => look(target)));
  const known = new WeakSet();
  const find = () => {
    for (const box of document.querySelectorAll(BOXES)) {
      if (known.has(box) || !mayScroll(box)) continue;
      known.add(box);
      watch.observe(box);
      box.addEventListener("scroll", () => look(box), { passive: true });
    }
  };
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    find();
    // a figure that comes to life brings boxes of its own
    const sections = new MutationObserver(find);
    for (const section of document.querySelectorAll(".ec-training"))
      sections.observe(section, { attributeFilter: ["data-live"] });
  });
})();
