/* Put before the widgets' script, embed-amd.js. */
{
  // Its fonts lie beside it; each of its parts would look for them beside the page.
  const folder = new URL(".", document.currentScript.src).href.replace(/\/$/, "");
  const paths = { "@jupyter-widgets/html-manager/dist": folder };
  for (const part of ["base", "controls", "html-manager", "output"]) {
    paths[`@jupyter-widgets/${part}`] = `${folder}/${part}`;
  }
  window.require.config({ paths });

  // It sets formulas in labels through MathJax 2's queue, which MathJax 3 does not have. By the time
  // this script is asked for, MathJax is mostly there.
  const typeset = ([, , element]) => window.MathJax.typesetPromise([element]);
  const queue = () => {
    window.MathJax.Hub = { Queue: (...jobs) => jobs.forEach(typeset) };
  };
  if (window.MathJax?.startup?.promise) queue();
  else if (window.MathJax) {
    window.MathJax.startup = {
      ready() {
        queue();
        window.MathJax.startup.defaultReady();
      },
    };
  }
}
