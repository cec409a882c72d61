/* Small things of every page. */
(() => {
  // Menus, tooltips and copy buttons, 100 KB of scripts, come at the reader's first sign of life.
  const here = document.currentScript;
  const LATE = ["scripts/bootstrap.js"];
  if (document.querySelector(".bd-article .highlight")) LATE.push("clipboard.min.js", "copybutton.js");
  if (document.querySelector(".bd-article :is(.ddim-term, a[href*='#eq-'])")) LATE.unshift("cards.js");
  const SIGNS = ["pointermove", "pointerdown", "wheel", "keydown", "focusin"];
  const fetchOne = (name) =>
    new Promise((done, failed) => {
      const src = new URL(name, here.src).href;
      const tag = Object.assign(document.createElement("script"), { src, onload: done });
      tag.onerror = () => {
        tag.remove();
        failed(new Error(`${src} did not load`));
      };
      document.head.append(tag);
    });
  const fetchAll = async () => {
    for (; LATE.length; LATE.shift()) await fetchOne(LATE[0]);
  };
  const heed = (signs) => {
    for (const sign of signs) addEventListener(sign, soonAll, { capture: true, passive: true });
  };
  let late = null;
  const soonAll = () => {
    for (const sign of SIGNS) removeEventListener(sign, soonAll, true);
    // What did not come is asked for again, at the next touch and not at each move.
    late ??= fetchAll().catch(() => {
      late = null;
      heed(["pointerdown", "keydown"]);
    });
    return late;
  };
  heed(SIGNS);
  // A click on a menu that was faster than the scripts is made again.
  document.addEventListener(
    "click",
    (event) => {
      const menu = event.target.closest?.('[data-bs-toggle="dropdown"]');
      if (!menu || window.bootstrap) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      soonAll().then(() => window.bootstrap && menu.click());
    },
    true,
  );

  // The choices of a quiz that were opened are open at the next visit, until they are closed.
  const kept = `quiz ${location.pathname}`;
  const choices = [...document.querySelectorAll(".bd-article details.choice")];
  const said = (choice) => choice.querySelector("summary").textContent;
  try {
    const opened = JSON.parse(localStorage.getItem(kept) ?? "[]");
    for (const choice of choices) choice.open = opened.includes(said(choice));
    // A click and not the opening, which printing does too. The keyboard makes clicks as well.
    document.addEventListener("click", ({ target }) => {
      const clicked = target.closest?.("details.choice > summary")?.parentElement;
      if (!clicked) return;
      const open = choices.filter((choice) => choice.open !== (choice === clicked)).map(said);
      localStorage.setItem(kept, JSON.stringify(open));
    });
  } catch {
    // A browser that keeps nothing.
  }

  // On paper nothing can be opened and the ground is white. A widget's scripts stay where they are.
  const fold = "details:not([open], :has(.ddim-widget-place, .jupyter-widgets))";
  let unfolded = [];
  let theme = null;
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll(`.bd-article ${fold}`)];
    for (const one of unfolded) one.open = true;
    theme ??= document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
  });
  addEventListener("afterprint", () => {
    for (const one of unfolded) one.open = false;
    document.documentElement.dataset.theme = theme;
    theme = null;
  });

  // What scrolls sideways fades where more of it lies (book.css).
  const fade = (block) => {
    const more = [];
    if (block.scrollLeft > 1) more.push("before");
    if (block.scrollLeft + block.clientWidth < block.scrollWidth - 1) more.push("after");
    if (more.length) block.dataset.more = more.join(" ");
    else delete block.dataset.more;
  };
  const WIDER = ".bd-article :is(pre, div.math, mjx-container[display], table, div.cell_output)";
  document.addEventListener(
    "scroll",
    (event) => event.target.matches?.(WIDER) && fade(event.target),
    { capture: true, passive: true },
  );

  // It can be scrolled with the keyboard, and says what it is.
  const WIDE = {
    "div.math": "Formula",
    "mjx-container[display]": null,
    table: null,
    "div.cell_output": "Output",
  };
  const reach = () => {
    document.querySelectorAll(WIDER).forEach(fade);
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
