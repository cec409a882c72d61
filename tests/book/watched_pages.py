"""Pages that keep their own faults, for a browser whose driver tells none (test_webkit.py)."""

import io
import time
from pathlib import Path

from test_pages import Quiet

# The browser stops what asks another host. Of a worker WebKit tells nothing then, but the worker
# lacks what it asked for.
OWN = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
# WebKit calls it an error where news of a size waits for the next frame; nothing is lost by that.
RECORDER = b"""<script>window.faults = [];
    for (const [kind, told] of Object.entries({
        error: e => e.target === window ? `error: ${e.message}`
            : `failed: ${e.target.src ?? e.target.href}`,
        unhandledrejection: e => `error: ${e.reason}`,
        securitypolicyviolation: e => `outside: ${e.blockedURI}`,
    })) addEventListener(kind, e => {
        if (!/^ResizeObserver loop/.test(e.message)) faults.push(told(e));
    }, true);
    const say = console.error;
    console.error = (...words) => { faults.push(`console: ${words.join(" ")}`); say(...words) };
</script>"""


class Watched(Quiet):
    """The site with the recorder; remembers what could not be answered, and when it was asked."""

    refused: list[str] = []
    asked = 0.0

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if path.suffix != ".html" or not path.is_file():
            return super().send_head()
        content = path.read_bytes().replace(b"<head>", b"<head>" + RECORDER, 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)

    def end_headers(self):
        self.send_header("Content-Security-Policy", OWN)
        super().end_headers()

    def log_request(self, code="-", size="-"):
        Watched.asked = time.monotonic()
        if int(code) >= 400:
            self.refused.append(f"{int(code)}: {self.path}")
