// ipywidgets without a kernel need 3.6 MB of scripts. They come when a reader asks for them: with
// the opening of the <details> that a widget lies in or, elsewhere, with a button in its place.
{
  const root = new URL(".", document.currentScript.src);
  const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
  const asked = [];
  let loading = null;

  const load = (name) => new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(name, root);
    script.onload = resolve;
    script.onerror = () => reject(new Error(name));
    document.head.append(script);
  });

  // The slider's handle gets the name that stands beside it, whose own tooltip is the word "null".
  const name = () => {
    for (const handle of document.querySelectorAll(".jupyter-widgets [role=slider]:not([aria-label])")) {
      const label = handle.closest(".jupyter-widgets")?.querySelector(".widget-label");
      if (!label?.textContent) continue;
      label.removeAttribute("title");
      handle.setAttribute("aria-label", label.textContent);
    }
  };

  // All widgets of the page appear at once: the scripts know no other way.
  const show = () => {
    loading ??= (async () => {
      for (const one of asked) one.textContent = "The widget is loading.";
      try {
        await load("vendor/requirejs/require.js");
        // The page's other scripts may still be coming; they shall not take themselves for modules.
        delete window.define.amd;
        await load("vendor/html-manager/embed-amd.js");
        for (const one of asked) one.remove();
        new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
      } catch (error) {
        for (const one of asked) one.textContent = `The widget did not load (${error.message}).`;
      }
    })();
  };

  for (const view of views) {
    const folded = view.closest("details:not([open])");
    const place = document.createElement("p");
    place.className = "ddim-widget-place";
    place.setAttribute("role", "status");
    asked.push(place);
    view.before(place);
    if (folded) {
      folded.addEventListener("toggle", show, { once: true });
    } else {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Show the ipywidgets version (3.6 MB)";
      button.addEventListener("click", show);
      place.append(button);
    }
  }
}
