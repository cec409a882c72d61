"""Firefox for Playwright: starts it, and answers the one command that Firefox 153 lacks.

Playwright drives any Firefox over WebDriver BiDi (channel "moz-firefox"), and tells each context
which colours and motion the reader prefers; Firefox ESR does not know that command, and Playwright
goes no further without an answer. All else passes through as it is.

    python firefox_relay.py firefox-esr --remote-debugging-port=0 ...
"""

import asyncio
import json
import re
import sys

from tornado import httpserver, netutil, web, websocket

UNKNOWN = "emulation.setMediaFeaturesOverride"
WHOLE = 2**30  # bytes of a message: a picture or a page's arrays in one


class Relay(websocket.WebSocketHandler):
    def initialize(self, address):
        self.address = address

    async def open(self):
        self.firefox = await websocket.websocket_connect(
            f"{self.address}/session", on_message_callback=self.answer, max_message_size=WHOLE)

    def answer(self, message):
        return self.close() if message is None else self.write_message(message)

    def on_message(self, message):
        command = json.loads(message)
        if command["method"] == UNKNOWN:
            return self.answer({"type": "success", "id": command["id"], "result": {}})
        return self.firefox.write_message(message)


async def main(command):
    firefox = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    # Playwright reads the address from this output: it gets the relay's.
    async for line in firefox.stderr:
        if found := re.search(rb"WebDriver BiDi listening on (\S+)", line):
            sockets = netutil.bind_sockets(0, "127.0.0.1")
            site = web.Application([("/session", Relay, {"address": found[1].decode()})],
                                   websocket_max_message_size=WHOLE)
            httpserver.HTTPServer(site).add_sockets(sockets)
            port = sockets[0].getsockname()[1]
            line = line.replace(found[1], f"ws://127.0.0.1:{port}".encode())
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
    return await firefox.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
