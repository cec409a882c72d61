"""Files of the results: written whole or not at all, and in UTF-8 whatever a text holds."""

import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file; whoever stops this finds the older one as it was.

    What UTF-8 cannot hold, half of a pair of surrogates, becomes an escape: in JSON its own. (The
    library's ``replacing`` follows a link that stands at the path, which a submission could lay.)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # never through a link
    fresh.write_bytes(text.encode("utf-8", errors="backslashreplace"))
    os.replace(fresh, path)
