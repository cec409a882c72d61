/* Put before the widgets' script, embed-amd.js. */
{
  // Its fonts lie beside it; it would look for them beside the page.
  const folder = new URL(".", document.currentScript.src).href.replace(/\/$/, "");
  window.require.config({ paths: { "@jupyter-widgets/html-manager/dist": folder } });

  // It sets formulas in labels through MathJax 2's queue, which MathJax 3 does not have.
  if (window.MathJax) {
    window.MathJax.startup = {
      ready() {
        const typeset = ([, , element]) => window.MathJax.typesetPromise([element]);
        window.MathJax.Hub = { Queue: (...jobs) => jobs.forEach(typeset) };
        window.MathJax.startup.defaultReady();
      },
    };
  }
}
