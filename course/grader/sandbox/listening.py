"""What a kernel says about a cell, cut to what a feedback page can show.

Outputs are plain dicts in nbformat's form: its import would take each submission a second.
"""

import time
from dataclasses import dataclass, field
from queue import Empty

KEPT_TEXT = 20_000  # letters of a cell's output that go into the feedback
KEPT_PICTURES = 8
LARGEST_OUTPUT = 3_000_000
KEYS = {
    "error": ("ename", "evalue", "traceback"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
}


def take(channel, seconds: float) -> dict | None:
    try:
        return channel.get_msg(timeout=seconds)
    except (Empty, ValueError, KeyError):  # nothing there, or a message that is none
        return None


@dataclass
class Heard:
    """What a kernel says about one cell."""

    outputs: list = field(default_factory=list)
    size: int = 0
    text: int = 0
    reply: dict | None = None
    replied: float = 0
    idle: bool = False

    def take(self, message: dict) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "execute_reply":
            self.reply, self.replied = content, time.monotonic()
        elif kind == "status":
            self.idle = content.get("execution_state") == "idle"
        elif kind == "clear_output":
            self.outputs, self.text = [], 0
        elif kind == "stream":
            self.stream(content)
        elif kind in KEYS:
            size = len(str(content))
            self.size += size
            if size > LARGEST_OUTPUT:
                said = f"[an output of {size / 1e6:.0f} MB is left out]\n"
                self.stream({"name": "stdout", "text": said})
            elif len(self.outputs) < KEPT_PICTURES or kind == "error":
                kept = {key: content[key] for key in KEYS[kind]}
                self.outputs.append({"output_type": kind} | kept)

    def stream(self, content: dict) -> None:
        text = content.get("text", "")
        self.size += len(text)
        room = KEPT_TEXT - self.text
        self.text += len(text)
        if room <= 0:
            return
        if len(text) > room:
            text = text[:room] + "\n[the rest of the output is left out]\n"
        last = self.outputs[-1] if self.outputs else {}
        if last.get("name") == content.get("name") and last.get("output_type") == "stream":
            last["text"] += text
        else:
            self.outputs.append({"output_type": "stream", "name": content["name"], "text": text})
