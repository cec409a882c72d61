"""A style sheet without what nothing on the pages can match, by PurgeCSS.

The theme's style sheets hold all of Bootstrap and of Font Awesome, 440 KB on every page.
"""

import json
import subprocess
import sys
from pathlib import Path

# Where npm put it: this checkout, or that of the environment, if this is a copy without it.
PLACES = (Path(__file__).resolve().parents[3], Path(sys.prefix).parent)
PURGE = """
import postcss from "postcss";
import parser from "postcss-selector-parser";
import { PurgeCSS } from "purgecss";
let given = "";
for await (const part of process.stdin) given += part;
const { css, words, unwanted, variables } = JSON.parse(given);
const alone = new RegExp(`^(?:[.](?:${unwanted})(?:::?[a-z-]+)*)+$`);
const root = postcss.parse(css);
root.walkComments(comment => { if (!comment.text.startsWith("!")) comment.remove(); });
// Elements and attributes are no reason to drop a rule: scripts make them.
const [tags, attributes] = [new Set(), new Set()];
const look = parser(selectors => {
  selectors.walkTags(tag => { tags.add(tag.value); });
  selectors.walkAttributes(({ attribute }) => { attributes.add(attribute); });
});
root.walkRules(rule => {
  if (rule.parent.name?.endsWith("keyframes")) return;
  // PurgeCSS drops a state of any element, :focus-visible, where the element is left out.
  rule.selectors = rule.selectors.filter(selector => !alone.test(selector))
    .map(selector => selector.replace(/^(?=:(?!root|host))/, "*"));
  if (!rule.selectors.join("")) rule.remove();
  else look.processSync(rule.selector);
});
const [purged] = await new PurgeCSS().purge({
  css: [{ raw: root.toString() }],
  content: [{ raw: [...words, ...tags].join(" "), extension: "html" }],
  defaultExtractor: text => text.split(" "),
  dynamicAttributes: [...attributes],
  safelist: { variables },
  keyframes: true,
  variables: true,
});
process.stdout.write(purged.css);
"""


def trim(css: str, words: set[str], variables: set[str], unwanted: str = "(?!)") -> str:
    """`css` without rules that need another class or id than `words`.

    Animations and custom properties that no rule reads go too, but for those in `variables`, and so
    do selectors that consist of classes alone that the regular expression `unwanted` matches.

    Raises:
        FileNotFoundError: PurgeCSS or Node is not there.
        subprocess.CalledProcessError: the style sheet has a fault; standard error says which.
    """
    # ddim_api has put the checkout on the path.
    from scripts.assets.vendor import program

    folder = next((p for p in PLACES if (p / "node_modules" / "purgecss").is_dir()), None)
    node = program("node")
    if not (folder and node):
        raise FileNotFoundError("the style sheet needs Node and PurgeCSS: run `make book`, or "
                                "`npm ci --ignore-scripts`")
    given = {"css": css, "words": sorted(words), "variables": sorted(variables),
             "unwanted": unwanted}
    done = subprocess.run([node, "--input-type=module", "--eval", PURGE], cwd=folder, text=True,
                          input=json.dumps(given), stdout=subprocess.PIPE, check=True)
    return done.stdout
