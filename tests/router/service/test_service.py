"""Service mode, on a cluster of two nodes on one machine: all by the command line and by processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGSTOP

import jsonschema
import psutil
import pytest

from actors.recording_format import read_timed_recording

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
STATUS_SCHEMA = json.loads((HERE.parents[2] / "docs" / "status.schema.json").read_text(encoding="utf-8"))
ROOT = HERE.parents[2]
SMALL = [
    "stream_actors.num_cpus=0", "stream_actors.memory_bytes=null", "stream_actors.warm_actors=1",
    "stream_actors.max_actors=2", "stream_actors.packed_streams_per_actor=1", "routers=2",
]  # fmt: skip
LINE_DEADLINE_S = 60.0


@dataclass
class Ran:
    """What a command did."""

    status: int
    out: str
    error: str
    wall_s: float


class Cluster:
    def __init__(self, address: str, folder: Path):
        self.address = address
        self.folder = folder

    def env(self, **more: str) -> dict[str, str]:
        # A terminal of no colours, wherever the tests run.
        own = {"RAY_ADDRESS": self.address, "PYTHONPATH": str(ROOT), "TERM": "dumb", "NO_COLOR": "1"}
        return {**os.environ, **own, **more}

    def cli(self, *arguments: str, timeout: float = 90, env: dict[str, str] | None = None) -> Ran:
        began = time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-m", "router.cli", *arguments],
            capture_output=True, text=True, timeout=timeout, check=False, cwd=self.folder, env=env or self.env(),
        )  # fmt: skip
        assert "Traceback" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr, time.monotonic() - began)

    def start(self, name: str, *sets: str, more: tuple[str, ...] = ()) -> Ran:
        given = [word for pair in (*SMALL, *sets) for word in ("--set", pair)]
        return self.cli("start", "--name", name, *given, *more)

    def status(self, name: str) -> dict:
        ran = self.cli("status", "--name", name, "--json")
        assert ran.status == 0, ran.error
        status = json.loads(ran.out)
        jsonschema.validate(status, STATUS_SCHEMA)
        return status

    def client(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(HERE / "client.py"), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.folder, env=self.env(),
        )  # fmt: skip

    def names(self, service: str) -> list[str]:
        listed = json.loads(self.cli("status", "--all", "--json").out)
        mine = [found for found in listed if found["name"] == service]
        return [name for found in mine for name in (*found["routers"], *found["stream_actors"])]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("elsewhere")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    importable = subprocess.run(
        [sys.executable, "-c", "import router"], cwd=folder, env=env, check=False, capture_output=True
    )
    if importable.returncode:  # this checkout is not installed: what its nodes need, they get this way
        env["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "cluster.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**env, "RAY_worker_niceness": "0"},
    )  # fmt: skip
    address = process.stdout.readline().strip()
    assert address, process.stderr.read()
    yield Cluster(address, folder)
    process.communicate("", timeout=60)


@pytest.fixture(scope="module")
def standing(cluster) -> str:
    """A service of one router that is there for several tests; whoever makes it hang lets it go on."""
    started = cluster.start("standing", "routers=1")
    assert started.status == 0, started.error
    return "standing"


@contextmanager
def publishing(cluster: Cluster, name: str, request_id: str) -> Iterator[subprocess.Popen]:
    process = cluster.client(name, "publish", request_id)
    try:
        assert process.stdout.readline() == "open\n", process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def pids(status: dict) -> list[int]:
    return [actor["pid"] for actor in (*status["routers"], *status["stream_actors"])]


def wait_until_gone(found: list[int]) -> None:
    psutil.wait_procs([psutil.Process(pid) for pid in found if psutil.pid_exists(pid)], timeout=LINE_DEADLINE_S)
    assert not [pid for pid in found if psutil.pid_exists(pid)]


def test_a_service_from_start_to_stop(cluster, tmp_path):
    records = tmp_path / "records"
    start_twice_and_refuse_another(cluster, (f"record.folder={records}", "record.request_ids=[req-*]"))
    # Published by one process, read by another while it is written.
    with publishing(cluster, "whole", "req-1") as publisher, publishing(cluster, "whole", "other-1") as other:
        reader = cluster.client("whole", "read", "req-1")
        publisher.stdin.write("a\nb\n")
        publisher.stdin.flush()
        cancel_from_outside(cluster, other)
        looked = cluster.cli("top", "--name", "whole", "--every-s", "0.5")
        assert looked.status == 0
        assert "\x1b" not in looked.out
        assert all(word in looked.out for word in ("whole/router-1", "whole/0/s1", "req-1", "openai-chat", "chunks/s"))
        drain_while_open(cluster, publisher)

    # Drained, it is still readable.
    for process in (reader, cluster.client("whole", "read", "req-1")):
        read = json.loads(process.communicate(timeout=LINE_DEADLINE_S)[0])
        assert read["text"] == "a\nb\nc\n"
        assert read["seq_ids"] == list(range(1, len(read["seq_ids"]) + 1))
        assert read["stop_reason"] == "end_turn"
    follow_what_has_ended(cluster)
    forget_from_outside(cluster)
    assert cluster.cli("drain", "--name", "whole", "--resume").status == 0
    with publishing(cluster, "whole", "after-the-drain"):
        pass

    recorded = read_timed_recording((records / "req-1.jsonl.gz").read_bytes())
    assert [json.loads(payload)["choices"][0]["delta"].get("content") for _, payload in recorded.chunks][:3] == [
        "a\n", "b\n", "c\n"
    ]  # fmt: skip
    assert {file.name for file in records.iterdir()} == {"req-1.jsonl.gz"}
    stop_and_leave_nothing(cluster)


def start_twice_and_refuse_another(cluster, options):
    """Start once more changes nothing; another configuration is refused as a whole."""
    started = cluster.start("whole", *options)
    assert started.status == 0, started.error
    assert "2 routers" in started.out
    before = cluster.status("whole")
    assert cluster.start("whole", *options).status == 0
    refused = cluster.start("whole", *options, "routers=3")
    assert refused.status == 2
    assert "[router_exists]" in refused.error
    status = cluster.status("whole")
    assert pids(status) == pids(before)
    assert len(status["routers"]) == 2


def cancel_from_outside(cluster, publisher):
    """Cancel `other-1` while its publisher says nothing, beside a request that nobody knows."""
    cancelled = cluster.cli("cancel", "--name", "whole", "other-1", "nonesuch", "--detail", "enough")
    assert cancelled.status == 1
    assert cancelled.out == "other-1: cancelled\n"
    assert "nonesuch" in cancelled.error
    # (Its thread that waits for a line is let go by the end of its stdin.)
    assert publisher.communicate("", timeout=LINE_DEADLINE_S)[0] == "request_cancelled\n"
    assert cluster.cli("cancel", "--name", "whole", "other-1").out == "other-1: had ended already\n"
    listed = [json.loads(line) for line in cluster.cli("list", "--name", "whole", "--all", "--json").out.splitlines()]
    assert [one["stop_reason"] for one in listed if one["request_id"] == "other-1"] == ["cancelled"]


def forget_from_outside(cluster):
    """Forget `other-1`, which has ended; then nobody knows it any more."""
    assert cluster.cli("forget", "--name", "whole", "other-1").out == "other-1: forgotten\n"
    again = cluster.cli("forget", "--name", "whole", "other-1")
    assert again.status == 1
    assert "it was forgotten" in again.error


def follow_what_has_ended(cluster):
    """Follow one request, then several: each whole, and what is not well is said."""
    alone = cluster.cli("tail", "--name", "whole", "req-1")
    assert alone.status == 0, alone.error
    assert alone.out.startswith("assistant   a\nb\nc\n\nend         end_turn\n")
    several = cluster.cli("tail", "--name", "whole", "req-1", "other-1", "nonesuch")
    assert several.status == 1
    assert "req-1  assistant   a\nreq-1              b\n" in several.out
    assert "other-1  end         cancelled: enough\n" in several.out
    assert "no request 'nonesuch': never opened here" in several.error


def drain_while_open(cluster, publisher):
    """Draining refuses new requests, and waits for the one that is open; then its publisher ends it."""
    impatient = cluster.cli("drain", "--name", "whole", "--deadline-s", "0")
    assert impatient.status == 1
    assert "1 are still open" in impatient.out
    late = cluster.client("whole", "publish", "req-2")
    assert late.communicate(timeout=LINE_DEADLINE_S)[0] == "draining\n"
    draining = subprocess.Popen(
        [sys.executable, "-m", "router.cli", "drain", "--name", "whole"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cluster.folder, env=cluster.env(),
    )  # fmt: skip
    assert "1 still open" in draining.stdout.readline()
    publisher.stdin.write("c\n")
    assert publisher.communicate("", timeout=LINE_DEADLINE_S)[0] == "end_turn\n"
    assert "is drained" in draining.communicate(timeout=LINE_DEADLINE_S)[0]
    assert draining.returncode == 0


def stop_and_leave_nothing(cluster):
    """Stop: no actor, no name, no process is left."""
    status = cluster.status("whole")
    assert sum(router["ended_by"].get("end_turn", 0) for router in status["routers"]) == 1
    assert sum(router["refused_by"].get("draining", 0) for router in status["routers"]) == 1
    stopped = cluster.cli("stop", "--name", "whole")
    assert stopped.status == 0
    assert "2 routers" in stopped.out
    assert not cluster.names("whole")
    wait_until_gone(pids(status))
    gone = cluster.cli("status", "--name", "whole")
    assert gone.status == 2
    assert "[router_not_found]" in gone.error
    assert "[router_not_found]" in cluster.cli("stop", "--name", "whole").error


def test_services_side_by_side_know_nothing_of_each_other(cluster, standing):
    assert cluster.start("left", "routers=1").status == 0
    listed = cluster.cli("status", "--all").out
    assert "left in namespace agent-stream-router: 1 routers" in listed
    assert f"{standing} in namespace" in listed
    with publishing(cluster, "left", "req-1") as one, publishing(cluster, standing, "req-1") as other:
        assert cluster.cli("stop", "--name", "left").status == 0
        other.stdin.write("still here\n")
        assert other.communicate("", timeout=LINE_DEADLINE_S)[0] == "end_turn\n"
        assert one.communicate("", timeout=LINE_DEADLINE_S)[0] in ("router_unavailable\n", "request_lost\n")
    assert not cluster.names("left")
    assert f"{standing}/router-0" in cluster.names(standing)


def test_what_hangs_or_has_lost_its_router_is_stopped_too(cluster):
    assert cluster.start("broken").status == 0
    status = cluster.status("broken")
    hung = status["routers"][1]["pid"]
    orphan = next(actor["pid"] for actor in status["stream_actors"] if actor["shard"] == 0)
    # An actor that has lost its router ends by itself within seconds; one that hangs cannot.
    os.kill(orphan, SIGSTOP)
    os.kill(hung, SIGSTOP)
    assert cluster.client("broken", "kill-router").wait(LINE_DEADLINE_S) == 0
    try:
        assert "broken/0/s1" in cluster.names("broken")
        asked = cluster.cli("status", "--name", "broken", "--wait-s", "2")
        assert asked.status == 2
        assert "[router_not_found]" in asked.error
        stopped = cluster.cli("stop", "--name", "broken")
        assert stopped.status == 0, stopped.error
        assert "not all of its routers answered" in stopped.out
        assert not cluster.names("broken")
        wait_until_gone(pids(status))
    finally:
        for pid in (hung, orphan):
            if psutil.pid_exists(pid):
                os.kill(pid, SIGCONT)


def test_a_start_is_whole_or_nothing(cluster):
    assert cluster.start("half").status == 0
    assert cluster.client("half", "kill-router").wait(LINE_DEADLINE_S) == 0
    # Router 0 could be started with the new configuration; router 1 runs with the old one.
    refused = cluster.start("half", "limits.open_requests_max=7")
    assert "[router_exists]" in refused.error
    # (Ray ends what it was told to kill in its own time.)
    deadline = time.monotonic() + LINE_DEADLINE_S
    while [name for name in cluster.names("half") if name == "half/router-0" or name.startswith("half/0/")]:
        assert time.monotonic() < deadline
    healed = cluster.start("half")
    assert healed.status == 0
    assert "2 routers" in healed.out
    with publishing(cluster, "half", "req-1"):
        pass
    assert cluster.cli("stop", "--name", "half").status == 0


def test_a_service_that_hangs_is_said_to_hang(cluster, standing):
    pid = cluster.status(standing)["routers"][0]["pid"]
    os.kill(pid, SIGSTOP)
    try:
        asked = cluster.cli("status", "--name", standing, "--wait-s", "2")
        assert asked.status == 2
        assert "[router_unavailable]" in asked.error
        assert asked.wall_s < 40
    finally:
        os.kill(pid, SIGCONT)
    with publishing(cluster, standing, "after-it-hung"):
        pass


def test_code_is_shipped_to_nodes_that_lack_it(cluster):
    started = cluster.start("shipped", "routers=1", more=("--ship-code",))
    assert started.status == 0, started.error
    with publishing(cluster, "shipped", "req-1"), publishing(cluster, "shipped", "req-2"):
        status = cluster.status("shipped")
        assert len(status["stream_actors"]) == 2
        for pid in pids(status):
            first = psutil.Process(pid).environ()["PYTHONPATH"].split(os.pathsep)[0]
            assert "py_modules_files" in first
    assert cluster.cli("stop", "--name", "shipped").status == 0


def test_a_live_view_ends_with_ctrl_c_as_a_way_out(cluster, standing):
    script = pytest.importorskip("pty")
    ours, theirs = script.openpty()
    view = subprocess.Popen(
        [sys.executable, "-m", "router.cli", "top", "--name", standing, "--every-s", "0.3"],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd=cluster.folder,
        env=cluster.env(TERM="xterm", COLUMNS="150", LINES="40"),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while shown.count(f"{standing}/0/s1".encode()) < 2:
        shown += os.read(ours, 65536)
    view.send_signal(SIGINT)
    _, error = view.communicate(timeout=LINE_DEADLINE_S)
    os.close(ours)
    assert view.returncode == 0, error
    assert b"Traceback" not in error
