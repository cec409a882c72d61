/* Excerpts below the results: from the article, without the buttons above it; none from a folder,
   where a browser lets no page read another. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
Search.htmlToText = (page, anchor) => {
  const article = new DOMParser().parseFromString(page, "text/html").querySelector("article");
  if (!article) return "";
  for (const part of article.querySelectorAll(".headerlink, script, style, .toctree-wrapper")) {
    part.remove();
  }
  return ((anchor && article.querySelector(anchor)) || article).textContent;
};
