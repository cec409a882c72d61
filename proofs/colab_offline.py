"""Copied into an environment: no process of it reaches the network, except pip.

A notebook that asks for another host fails there, and the file that DDIM_ASKED names gets a line
with the host. Programs that are not Python (git, which pip calls) are not held back.
"""

import os
import sys

LOCAL = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}


def _hook(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else str(host or "")
    if host in LOCAL:
        return
    if os.environ.get("DDIM_ASKED"):
        with open(os.environ["DDIM_ASKED"], "a", encoding="utf-8") as asked:
            asked.write(f"{host}\n")
    raise OSError(f"no network here: this process asked for {host}")


# As pip is started: -m pip, or a file of its own that builds a wheel.
if not any("pip" in argument for argument in sys.orig_argv[1:3]):
    sys.addaudithook(_hook)
