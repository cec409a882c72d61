/* Small things of every page. */
(() => {
  // Menus, tooltips and copy buttons, 100 KB of scripts, come at the reader's first sign of life.
  const here = document.currentScript;
  const LATE = ["scripts/bootstrap.js"];
  if (document.querySelector(".bd-article .highlight")) LATE.push("clipboard.min.js", "copybutton.js");
  const SIGNS = ["pointermove", "pointerdown", "wheel", "keydown", "focusin"];
  const fetchOne = (name) =>
    new Promise((done, failed) => {
      const src = new URL(name, here.src).href;
      const tag = Object.assign(document.createElement("script"), { src, onload: done, onerror: failed });
      document.head.append(tag);
    });
  let late = null;
  let ready = false;
  const fetchAll = () => {
    if (late) return late;
    for (const sign of SIGNS) removeEventListener(sign, fetchAll, true);
    late = LATE.reduce((before, name) => before.then(() => fetchOne(name)), Promise.resolve());
    late.then(() => (ready = true));
    return late;
  };
  for (const sign of SIGNS) addEventListener(sign, fetchAll, { capture: true, passive: true });
  // A click on a menu that was faster than the scripts is made again.
  document.addEventListener(
    "click",
    (event) => {
      const menu = event.target.closest?.('[data-bs-toggle="dropdown"]');
      if (!menu || ready) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      fetchAll().then(() => menu.click());
    },
    true,
  );

  // What scrolls sideways can be scrolled with the keyboard, and says what it is.
  const WIDE = {
    "div.math": "Formula",
    "mjx-container[display]": null,
    table: null,
    "div.cell_output": "Output",
  };
  const reach = () => {
    for (const [selector, label] of Object.entries(WIDE)) {
      for (const block of document.querySelectorAll(`.bd-article ${selector}`)) {
        const wide = block.scrollWidth > block.clientWidth + 1;
        if (wide === (block.tabIndex === 0)) continue;
        if (wide) block.tabIndex = 0;
        else block.removeAttribute("tabindex");
        if (!label) continue;
        if (wide) {
          block.setAttribute("role", "group");
          block.setAttribute("aria-label", `${label}, scrolls sideways`);
        } else {
          block.removeAttribute("role");
          block.removeAttribute("aria-label");
        }
      }
    }
  };
  let later;
  const soon = () => {
    clearTimeout(later);
    later = setTimeout(reach, 200);
  };
  addEventListener("load", () => {
    reach();
    window.MathJax?.startup?.promise?.then(soon);
    document.fonts?.ready.then(soon);
    new ResizeObserver(soon).observe(document.body);
  });
})();
