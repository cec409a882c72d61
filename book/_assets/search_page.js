/* Excerpts below the results: from the article, without the buttons above it; none from a folder,
   where a browser lets no page read another. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
{
  // Formulas in an excerpt are read, not typeset: a sign for its name, no commands. The page holds
  // the Greek letters by name.
  const SIGNS = { sqrt: "√", le: "≤", ge: "≥", ne: "≠", lt: "<", gt: ">", approx: "≈", sim: "~",
    cdot: "·", times: "×", pm: "±", to: "→", in: "∈", infty: "∞", dots: "…", ldots: "…", cdots: "…",
    partial: "∂", nabla: "∇", sum: "Σ", prod: "Π", int: "∫", log: "log", exp: "exp" };
  const MARKS = { bar: "\u0304", hat: "\u0302", tilde: "\u0303" };
  const plain = (tex) => tex
    .replace(/^\\\(|\\\)$/g, "")
    .replace(/\\(bar|hat|tilde)\s*\{?\s*(\\?)([A-Za-z]+)\}?/g, (_, mark, command, letter) =>
      (command ? GREEK[letter] ?? letter : letter) + MARKS[mark])
    .replace(/\\([A-Za-z]+)/g, (_, name) => GREEK[name] ?? SIGNS[name] ?? "")
    .replace(/\\[,;:!]/g, " ")
    .replace(/[{}\\]/g, "");
  const LEFT_OUT = ".headerlink, script, style, .toctree-wrapper, .set-up, div.math";
  Search.htmlToText = (page, anchor) => {
    const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
    if (!article) return "";
    for (const part of article.querySelectorAll(LEFT_OUT)) part.remove();
    for (const part of article.querySelectorAll("span.math")) part.textContent = plain(part.textContent);
    return ((anchor && article.querySelector(anchor)) || article).textContent;
  };

  // Sphinx leaves out numbers, and knows Greek letters by the names that code gives them.
  const parse = Search._parseQuery;
  Search._parseQuery = (query) => {
    const named = Object.entries(GREEK).reduce((text, [name, sign]) => text.replaceAll(sign, name), query);
    const parsed = parse(named);
    for (const [number] of named.matchAll(/(?<![\p{L}\p{N}_])\d{2,}(?![\p{L}\p{N}_])/gu)) {
      parsed[1].add(number);
      parsed[3].add(number);
    }
    return parsed;
  };

  // A page with many entries is one page, and shows its best three.
  const MOST = 3;
  Search.query = (query) => {
    const [text, wanted, unwanted, shown, objects] = Search._parseQuery(query);
    const of = new Map();
    // The best stands last; of equally good ones chapter 9 before chapter 10.
    const results = Search._performSearch(text, wanted, unwanted, shown, objects)
      .sort((a, b) => a[4] - b[4] || b[1].localeCompare(a[1], "en", { numeric: true }))
      .reverse()
      .filter(([page]) => of.set(page, (of.get(page) ?? 0) + 1).get(page) <= MOST)
      .reverse();
    _displayNextItem(results, of.size, wanted, shown);
  };
}
