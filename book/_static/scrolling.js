// A formula wider than the screen scrolls in its own box; so that the arrow keys can scroll it too,
// it takes the focus, and only while it scrolls.
(() => {
  "use strict";
  const watch = new ResizeObserver((seen) => {
    for (const { target } of seen)
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
  });
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    document.querySelectorAll("mjx-container[display='true']").forEach((it) => watch.observe(it));
  });
})();
