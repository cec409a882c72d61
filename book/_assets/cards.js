// What a term of the glossary means and what a numbered equation says, in a card beside the link that
// the mouse rests on or the keyboard has reached. It comes from the book's own page of each.
{
  const card = document.createElement("div");
  card.className = "ddim-card";
  card.id = "ddim-card";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  document.body.append(card);
  const pages = new Map();
  let link = null;
  let timer;

  const page = (url) => {
    if (!pages.has(url)) {
      const parsed = fetch(url).then(async (response) =>
        new DOMParser().parseFromString(response.ok ? await response.text() : "", "text/html"));
      pages.set(url, parsed);
      parsed.catch(() => pages.delete(url));
    }
    return pages.get(url);
  };

  // The parts of the card, or nothing where the page does not have them.
  const parts = async ({ href, classList }) => {
    const place = new URL(href);
    if (classList.contains("ddim-term")) {
      const entry = (await page(place.origin + place.pathname)).getElementById(place.hash.slice(1));
      return entry && [entry, entry.nextElementSibling];
    }
    const list = await page(new URL("equations.html", href).href);
    const end = `${place.pathname.split("/").pop()}${place.hash}`;
    const entry = list.querySelector(`article a[href="${end}"]`)?.closest("section");
    return entry && [entry.querySelector("h3"), entry.querySelector("div.math")];
  };

  const hide = () => {
    clearTimeout(timer);
    link?.removeAttribute("aria-describedby");
    link = null;
    card.hidden = true;
  };

  const show = async (wanted) => {
    if (wanted === link) return;
    hide();
    link = wanted;
    const found = await parts(link).catch(() => null);
    if (!found || wanted !== link) return;
    // Once there is a card, the browser's own is one too many.
    link.removeAttribute("title");
    window.MathJax?.typesetClear?.([card]);
    card.replaceChildren(...found.map((part) => {
      const line = document.createElement("div");
      line.append(...(part.matches("div.math") ? [part.cloneNode(true)] : part.cloneNode(true).childNodes));
      line.querySelector(".headerlink")?.remove();
      return line;
    }));
    for (const one of card.querySelectorAll("[id]")) one.removeAttribute("id");
    await window.MathJax?.typesetPromise?.([card]);
    if (wanted !== link) return;
    card.hidden = false;
    const at = link.getClientRects()[0];
    const room = document.documentElement.clientWidth - card.offsetWidth - 8;
    card.style.left = `${Math.max(8, Math.min(at.left, room)) + scrollX}px`;
    const above = at.top - card.offsetHeight - 6;
    card.style.top = `${(above > 60 ? above : at.bottom + 6) + scrollY}px`;
    link.setAttribute("aria-describedby", card.id);
  };

  const soon = (what, wait) => {
    clearTimeout(timer);
    timer = setTimeout(what, wait);
  };
  const LINKS = ".bd-article :is(.ddim-term, a[href*='#eq-'])";
  document.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType === "touch") return;
    const over = target.closest?.(LINKS);
    // The mouse may go to the card and rest there.
    if (over) soon(() => show(over), 250);
    else if (target.closest?.(".ddim-card")) clearTimeout(timer);
    else soon(hide, 250);
  });
  document.addEventListener("focusin", ({ target }) => {
    if (target.matches(`${LINKS}:focus-visible`)) show(target);
    else hide();
  });
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  // The link that was reached before this script had come.
  const reached = document.querySelector(`${LINKS}:is(:hover, :focus-visible)`);
  if (reached) show(reached);
}
