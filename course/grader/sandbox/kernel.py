"""One kernel, in the cage, that runs cells and answers in bounded time, whatever they do.

nbgrader's Execute gives up on a notebook when its kernel dies, and keeps every output in memory. So
the grader speaks to kernels itself.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import zmq
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from course.grader.sandbox.cage import Cage
from course.grader.sandbox.listening import Heard, take

HERE = Path(__file__).resolve().parent
SLICE = 0.1  # seconds between two looks at the kernel
PATIENCE = 5.0  # seconds for an interrupt to work, and for the last output of a cell
LARGEST_MESSAGE = 32_000_000
MOST_OUTPUT = 200_000_000  # bytes after which a cell is stopped
MOST_THREADS = 1024  # of a user who runs nothing else
QUIET = {"silent": True, "store_history": False, "allow_stdin": False}


@dataclass
class Limits:
    """What one submission may use. Times in seconds, sizes in bytes."""

    cell: float = 60
    total: float = 300
    memory: int = 4 * 2**30
    file_size: int = 2**28
    processes: int = 64


@dataclass
class Ran:
    """What became of a cell: "ok", "error", "time", "output" or "died"; `why` in words."""

    status: str
    outputs: list = field(default_factory=list)
    why: str = ""


# Limits the process in which it runs, then is a kernel. The memory is the private one: unlike the
# address space it leaves out mapped libraries, of which a network's framework has gigabytes.
LIMITED = """
import json, sys
wanted = json.loads(sys.argv.pop(1))
try:
    import resource
except ImportError:  # Windows
    wanted = {}
for name, value in wanted.items():
    kind = getattr(resource, "RLIMIT_" + name)
    most = resource.getrlimit(kind)[1]
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(kind, (value, value))
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""


class KernelFailed(RuntimeError):
    """A kernel did not start."""


def environment(work: Path) -> dict[str, str]:
    """All that the kernel gets to know of ours: where programs lie, and how to behave."""
    home = str(work / "home")
    beside = os.path.dirname(sys.executable)
    return {
        "PATH": os.pathsep.join([beside, "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": home,
        "USER": "student",
        "IPYTHONDIR": home + "/.ipython",
        "JUPYTER_CONFIG_DIR": home + "/.jupyter",
        "MPLCONFIGDIR": str(work / "matplotlib"),
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "DDIM_GRADING": "1",
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
        "SPYDER_PLAIN_PROGRESS_BARS": "1",
        # There is no network: pip is to fail at once.
        "PIP_NO_INDEX": "1",
        "PIP_RETRIES": "0",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def as_user(user: int | None) -> dict:
    """Options of a process that another user runs, who is in no group."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def end_all_of(user: int) -> None:
    """End every process of a user, until there is none. Only root may, and for no user but ours."""
    for _ in range(50):
        # As this user, since no list of its processes would be up to date.
        killed = subprocess.run(["sh", "-c", "kill -s KILL -- -1"], stderr=subprocess.DEVNULL,
                                check=False, **as_user(user))
        if killed.returncode > 0:  # there was none
            return
        time.sleep(0.1)


def hand_over(work: Path, user: int) -> None:
    """Give the folders below `work` to another user; what lies in `work` itself stays ours."""
    for folder in (work.parent, work):
        folder.chmod(0o711)
    for folder in [path for path in work.iterdir() if path.is_dir()]:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user, user)


class Kernel:
    """`work` is an empty folder of its own. Without a `cage` it runs in the open, and as the user
    with the number `user` if root grades."""

    def __init__(self, work: Path, limits: Limits, cage: Cage | None, user: int | None = None):
        self.work, self.limits, self.user = work, limits, user
        for name in ("home", "k", "matplotlib"):
            (work / name).mkdir(exist_ok=True)
        connection = str(work / "k" / "kernel.json")
        # Sockets in a folder reach a kernel that has no network; Windows knows TCP alone.
        places = {"transport": "ipc", "ip": str(work / "k" / "s")} if os.name != "nt" else {}
        write_connection_file(connection, **places)
        # Run as a file: in a cell IPython would put its own stdout back after it.
        first = shutil.copy(HERE / "inside.py", work / "k" / "inside.py")
        limited = {"DATA": limits.memory, "FSIZE": limits.file_size, "NOFILE": 1024, "CORE": 0,
                   # A last resort, if the grader itself is stopped.
                   "CPU": int(4 * limits.total + 60)}
        if user is not None:
            limited["NPROC"] = MOST_THREADS
            hand_over(work, user)
        command = [*(cage.around(work) if cage else []), sys.executable, "-c", LIMITED,
                   json.dumps(limited), "-f", connection, "--HistoryManager.enabled=False",
                   f"--IPKernelApp.exec_files=['{first}']"]
        self.process = subprocess.Popen(
            command,
            cwd=work / "home",
            env=environment(work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(work / "log").open("wb"),
            start_new_session=True,
            **as_user(user),
        )
        context = zmq.Context()
        # Prints are cut short inside; a picture of such a size is lost, and the kernel lives.
        context.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        context.setsockopt(zmq.LINGER, 0)
        self.client = BlockingKernelClient(connection_file=connection, context=context)
        self.client.load_connection_file()
        self.client.start_channels(hb=False, stdin=False)
        try:
            self.greet(60)
        except BaseException:
            self.close()
            raise

    def greet(self, seconds: float) -> None:
        """Wait until the kernel answers on both channels."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            asked = self.client.kernel_info()
            heard = set()
            until = time.monotonic() + 1
            while time.monotonic() < until and len(heard) < 2:
                for name, channel in self.channels().items():
                    message = take(channel, SLICE / 2)
                    if message and message["parent_header"].get("msg_id") == asked:
                        heard.add(name)
            if len(heard) == 2:
                return
        log = (self.work / "log").read_text(errors="replace")[-500:]
        raise KernelFailed(f"no kernel started: {log.strip() or 'it did not answer'}")

    def channels(self) -> dict:
        return {"iopub": self.client.iopub_channel, "shell": self.client.shell_channel}

    def run(self, source: str, seconds: float, quiet: bool = False, test: bool = False) -> Ran:
        """Run a cell. A test leaves no trace in the history."""
        options = QUIET if quiet else {"store_history": not test, "allow_stdin": False}
        asked = self.client.execute(source, stop_on_error=False, **options)
        ran, heard = Ran("", []), Heard()
        deadline, stopping = time.monotonic() + seconds, None
        looked = interrupted = time.monotonic()
        while True:
            for message in self.messages(asked, heard):
                heard.take(message)
            now = time.monotonic()
            if heard.reply and heard.idle:
                break
            if heard.reply and now > heard.replied + PATIENCE / 2:
                # A message over the limit has cut the connection, and the end of the output too.
                self.client.iopub_channel.stop()
                self.client._iopub_channel = None
                self.greet(PATIENCE)
                break
            if self.process.poll() is not None:
                ran.status, ran.why = "died", ran.why or "the cell ended the kernel"
                break
            if stopping is None and now > deadline:
                ran.status, ran.why = "time", f"the cell ran for more than {seconds:.0f} s"
            elif stopping is None and heard.size > MOST_OUTPUT:
                ran.status, ran.why = "output", f"more than {MOST_OUTPUT // 10**6} MB of output"
            if ran.status and (stopping is None or now > interrupted + 1):
                # A print can swallow an interrupt, so it gets several.
                stopping, interrupted = stopping or now, now
                self.interrupt()
            if stopping is not None and now > stopping + PATIENCE:
                ran.why += " and could not be interrupted"
                ran.status = "died"
                break
            if now > looked + 2 * SLICE:
                looked = now
                if excess := self.excess():
                    ran.status, ran.why = "died", excess
                    break
        ran.outputs = heard.outputs
        if ran.status == "died":
            self.close()
        elif not ran.status:
            ran.status = "ok" if heard.reply["status"] == "ok" else "error"
        self.complete(ran, heard)
        return ran

    def messages(self, asked: str, heard: Heard):
        for name, channel in self.channels().items():
            # While outputs come in, the reply can wait.
            wait = SLICE if name == "iopub" and not heard.idle else SLICE / 20
            for _ in range(100):
                message = take(channel, wait)
                if message is None:
                    break
                wait = 0
                if message["parent_header"].get("msg_id") == asked:
                    yield message

    def complete(self, ran: Ran, heard: Heard) -> None:
        """An error that the outputs do not show is put there: the points depend on it."""
        if ran.status == "ok" or any(o["output_type"] == "error" for o in ran.outputs):
            return
        reply = heard.reply or {}
        name = {"time": "TimeLimit", "output": "OutputLimit", "died": "KernelDied"}.get(ran.status)
        ran.outputs.append({
            "output_type": "error",
            "ename": name or reply.get("ename", "Error"),
            "evalue": ran.why or str(reply.get("evalue", "")),
            "traceback": [],
        })

    def ask(self, expression: str) -> str:
        """The value of an expression in the kernel, as text; empty if there is none."""
        asked = self.client.execute("", user_expressions={"said": expression}, **QUIET)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            message = take(self.client.shell_channel, SLICE)
            if message and message["parent_header"].get("msg_id") == asked:
                said = message["content"].get("user_expressions", {}).get("said", {})
                return said.get("data", {}).get("text/plain", "")
        return ""

    def family(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.Error:
            return []

    def excess(self) -> str:
        """What the kernel and all that it started use too much of; empty if nothing."""
        family = self.family()
        if len(family) > self.limits.processes:
            return f"more than {self.limits.processes} processes"
        used = 0
        for process in family:
            try:
                used += process.memory_info().rss
            except psutil.Error:
                continue
        if used > 1.25 * self.limits.memory:
            return f"more than {self.limits.memory / 2**30:.1f} GB of memory"
        return ""

    def interrupt(self) -> None:
        for process in self.family():
            try:
                if process.name() != "bwrap":  # it would end, and the kernel with it
                    process.send_signal(signal.SIGINT)
            except psutil.Error:
                continue

    def close(self) -> None:
        """End the kernel and all that it started."""
        for process in reversed(self.family()):
            try:
                process.kill()
            except psutil.Error:
                continue
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        if self.user is not None:
            end_all_of(self.user)
        self.client.stop_channels()
