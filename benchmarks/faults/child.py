"""A task in a process of its own, and all that came of it: its value, its error, its end.

A fork of a process that has imported everything and computed nothing: it costs milliseconds, may
crash, hang or be killed, and starts each time from the same state.
"""

import contextlib
import ctypes
import linecache
import os
import pickle
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch._dynamo  # noqa: F401 - which every optimizer imports

import embedding_collapse
from embedding_collapse import cli
from embedding_collapse.lab.environment import commit

PROJECT, PACKAGE = embedding_collapse.__name__, str(Path(embedding_collapse.__file__).parent)
commit()  # asks git, once for all children
PR_SET_PDEATHSIG = 1
HANGS = 10.0  # seconds
ACTS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)
MOVES = ("os.mkdir", "os.rename", "os.link", "os.symlink")

Audit = Callable[[str, tuple], None]


class Outcome(NamedTuple):
    """What came of a task.

    Attributes:
        kind: "value"; "refused", an error that the project raised and worded itself; "error", any
            other; "killed" by a signal; or "hung" or "too large", and ended for that.
        value: what the task returned.
        text: the error, or the signal.
        printed: on its standard output.
        said: on its standard error, and its warnings.
        acts: what it set going: commands, connections, classes that a pickle asked for.
        written: paths that it made, wrote to, or renamed to.
        growth: bytes by which its memory grew at most, and that processes below it took.
    """

    kind: str
    value: Any = None
    text: str = ""
    printed: str = ""
    said: str = ""
    acts: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    growth: int = 0


class Child(NamedTuple):
    """A task under way."""

    process: int
    answer: int
    streams: tuple[int, int]
    started: float


def start(task: Callable[[], Any], audit: Audit | None = None) -> Child:
    """Begin a task in a fork; `audit` gets the audit events of that process."""
    answer, to_answer = os.pipe()
    streams = os.memfd_create("printed"), os.memfd_create("said")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or the child would say it again
    process = os.fork()
    if process:
        os.close(to_answer)
        return Child(process, answer, streams, time.monotonic())
    try:
        os.setpgid(0, 0)  # what it starts ends with it, and it with this process
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number, stream in enumerate(streams, 1):
            os.dup2(stream, number)
        outcome = _inside(task, audit)
        sys.stdout.flush()
        with os.fdopen(to_answer, "wb") as pipe:
            pickle.dump(outcome, pipe)
    finally:
        os._exit(0)


def finish(child: Child, limit: int | None = None, seconds: float = HANGS) -> Outcome:
    """Wait for a task; it is ended when it takes far more memory than `limit` bytes, or hangs.

    It hangs past so many seconds of processor time, or ten times as many by the clock.
    """
    parts, ended, before, below = [], None, _resident(child.process), 0
    while ended is None:
        if select.select([child.answer], [], [], 0.1)[0]:
            part = os.read(child.answer, 1 << 20)
            if not part:
                break
            parts.append(part)
            continue
        family = list(_family(child.process))
        below = max(below, sum(map(_resident, family[1:])))
        if max(time.monotonic() - child.started, 10 * sum(map(_cpu, family))) > 10 * seconds:
            ended = "hung"
        elif limit and _resident(child.process) - before + below > limit + (256 << 20):
            ended = "too large"
    if ended:
        os.kill(child.process, signal.SIGKILL)
    _, status = os.waitpid(child.process, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process, signal.SIGKILL)
    os.close(child.answer)
    printed, said = map(_content, child.streams)
    if ended or not parts:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "no answer"
        return Outcome(ended or "killed", text=name, printed=printed, said=said)
    outcome: Outcome = pickle.loads(b"".join(parts))
    growth = outcome.growth + below
    return outcome._replace(printed=printed, said=said + outcome.said, growth=growth)


def isolated(task: Callable[[], Any], limit: int | None = None, seconds: float = HANGS) -> Outcome:
    """Do a task in a fork and wait for it."""
    return finish(start(task), limit, seconds)


def elsewhere(outcome: Outcome) -> str | None:
    """What a task set going, or wrote, that no file or name may make it do."""
    if outcome.acts:
        return f"executed: {outcome.acts[:3]}"
    ours = (tempfile.gettempdir(), "/dev/", "/proc/")
    paths = [path for path in outcome.written if "canary" in path or not path.startswith(ours)]
    return f"wrote elsewhere: {paths[:3]}" if paths else None


def command(*arguments: str, cache: Path) -> Callable[[], int]:
    """The project's command line as a task."""

    def task() -> int:
        os.environ["EMBEDDING_COLLAPSE_CACHE"] = str(cache)
        return cli.main(list(arguments))

    return task


def _inside(task: Callable[[], Any], audit: Audit | None) -> Outcome:
    acts, written, warned = [], [], []

    def watch(event: str, arguments: tuple) -> None:
        if event in ACTS and not _own_reader(event, arguments):
            acts.append(f"{event} {arguments[:2]}")
        elif event in MOVES:
            written.append(str(arguments[event in ("os.rename", "os.link", "os.symlink")]))
        elif event == "open" and isinstance(arguments[2], int):
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
            if arguments[2] & writes and isinstance(arguments[0], str | os.PathLike):
                written.append(str(arguments[0]))

    def warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        warned.append(f"{category.__name__}: {message}")

    warnings.simplefilter("always")
    warnings.showwarning = warn
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _status("VmRSS")
    sys.addaudithook(watch)
    if audit:
        sys.addaudithook(audit)
    value, text = None, ""
    try:
        kind, value = "value", task()
    except BaseException as error:
        kind = "refused" if worded(error) else "error"
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if kind == "refused" else f" ({Path(place.filename).name}:{place.lineno})"
        text = f"{type(error).__name__}: {error}{where}"
    growth = max(0, _status("VmHWM") - before)
    said = "".join(f"{line}\n" for line in warned)
    return Outcome(kind, value, text, "", said, tuple(acts), tuple(written), growth)


def _content(stream: int) -> str:
    os.lseek(stream, 0, os.SEEK_SET)
    with os.fdopen(stream, "rb") as file:
        return file.read().decode(errors="backslashreplace")


def _own_reader(event: str, arguments: tuple) -> bool:
    """Whether what is started is a script of the project itself."""
    started = arguments[1] if event == "subprocess.Popen" else ()
    return any(str(part).startswith(PACKAGE) for part in started)


def worded(error: BaseException) -> bool:
    """Whether an error is the project's own: of its types, from a `raise` in its source."""
    if type(error) is not ValueError and not type(error).__module__.startswith(PROJECT):
        return False
    place = error.__traceback__
    while place.tb_next:
        place = place.tb_next
    file, line = place.tb_frame.f_code.co_filename, place.tb_lineno
    return file.startswith(PACKAGE) and linecache.getline(file, line).lstrip().startswith("raise")


def own_namespace(folder: Path, size: str) -> None:
    """In a child: a file system of that size on the folder, which ends with the child.

    Raises:
        OSError: the system does not let this user have one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, new_user, private = 0x20000, 0x10000000, 0x4C000
    user, group = os.getuid(), os.getgid()
    if user != 0:
        _call(libc.unshare, new_user)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call(libc.unshare, new_mounts)
    _call(libc.mount, b"none", b"/", None, private, None)
    _call(libc.mount, b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode())


def remount(folder: Path, options: str = "", read_only: bool = False) -> None:
    """Change the size of that file system, or make it read-only."""
    libc, again = ctypes.CDLL(None, use_errno=True), 0x20
    _call(libc.mount, b"none", str(folder).encode(), None, again | read_only, options.encode())


def drop_privileges() -> None:
    """In a child: root, too, may write only where the mode of a folder says so."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the layout's version, this process
    _call(ctypes.CDLL(None, use_errno=True).capset, header, (ctypes.c_uint32 * 6)())


def _call(function: Any, *arguments: Any) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _family(process: int) -> Iterator[int]:
    """A process and those that it has started, and they."""
    yield process
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{process}/task").glob("*/children"):
            for child in path.read_text().split():
                yield from _family(int(child))


def _resident(process: int) -> int:
    """Bytes of memory that a process holds; of what it shares, such as all of its parent's memory
    between its fork and its exec, its part."""
    with contextlib.suppress(OSError, IndexError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu(process: int) -> float:
    """Seconds of processor time that a process has taken."""
    with contextlib.suppress(OSError, IndexError):
        facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
