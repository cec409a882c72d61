"""The few icons that the theme uses, as masks in a style sheet.

The theme brings Font Awesome as 1.5 MB of script, and as fonts of 270 KB while it loads. This takes
the drawings of the icons that the pages name out of that script.
"""

import re
from urllib.parse import quote

CREDIT = "/*! Icons: Font Awesome Free, CC BY 4.0, https://fontawesome.com/license/free */"
STYLES = re.compile(r"fa|fas|fab|far|fa-solid|fa-brands|fa-regular")
SIZES = {"fa-lg": "font-size:1.25em;line-height:.05em;vertical-align:-.075em",
         "fa-fw": "width:1.25em"}
ANY = ":is(.fas,.fab,.far,.fa-solid,.fa-brands,.fa-regular)"
# The script lists the packs in this order; names in it are unique within a pack.
PACKS = {"brands": 0, "regular": 1, "solid": 2}
# Where the theme's rules speak of the <svg> that the script would have put there.
BASE = f"""\
{ANY}{{display:inline-block;height:1em;width:calc(1em*var(--icon-ratio));vertical-align:-.125em;\
background:currentColor;-webkit-mask:var(--icon) center/contain no-repeat;\
mask:var(--icon) center/contain no-repeat}}
.search-button-field>i{ANY}{{display:block}}
.bd-header-article .btn {ANY}{{width:1.3rem}}
@media (forced-colors:active){{{ANY}{{forced-color-adjust:none;background:ButtonText}}}}
"""
MODES = "\n".join(
    f'html[data-mode={mode}] .theme-switch-button i.theme-switch[data-mode={mode}]'
    "{display:inline-block}" for mode in ("auto", "light", "dark")
)


def used(pages: list[str]) -> set[tuple[str, str]]:
    """(pack, name) of every icon that the pages, as HTML, hold."""
    found = set()
    for page in pages:
        for classes in re.findall(r'class="([^"]*\bfa[bsr]?[ -][^"]*)"', page):
            classes = classes.split()
            styles = [c for c in classes if STYLES.fullmatch(c)]
            if not styles:
                continue
            brands = {"fab", "fa-brands"} & set(styles)
            regular = {"far", "fa-regular"} & set(styles)
            pack = "brands" if brands else "regular" if regular else "solid"
            found |= {(pack, c) for c in classes if c.startswith("fa-")
                      and not STYLES.fullmatch(c) and c not in SIZES}
    return found


def drawing(script: str, pack: str, name: str) -> tuple[int, int, str]:
    """Width, height and path of an icon in Font Awesome's script."""
    packs = re.split(r'\("fa[bsr]",\w+\)', script)
    pattern = rf'(?<=[{{,])"?{re.escape(name)}"?:\[(\d+),(\d+),\[[^\]]*\],"[^"]*","([^"]+)"\]'
    found = re.search(pattern, packs[PACKS[pack]])
    if not found:
        raise ValueError(f"the theme's Font Awesome has no icon {name!r} in its pack {pack!r}")
    return int(found[1]), int(found[2]), found[3]


def sheet(icons: set[tuple[str, str]], script: str) -> str:
    lines = [CREDIT, BASE]
    lines += [f".{size}{{{rule}}}" for size, rule in SIZES.items()]
    for pack, name in sorted(icons):
        width, height, path = drawing(script, pack, name.removeprefix("fa-"))
        svg = (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'>"
               f"<path d='{path}'/></svg>")
        address = quote(svg, safe=" '=:/.,-")
        lines.append(f".{name}{{--icon-ratio:{width / height:g};"
                     f'--icon:url("data:image/svg+xml,{address}")}}')
    return "\n".join([*lines, MODES]) + "\n"
