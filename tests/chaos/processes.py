"""Kills of whole processes: a publisher, a reader, the driver that started it all; and an ordinary end."""

from __future__ import annotations

import asyncio
import atexit
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.errors import StreamRouterError
from actors.settings import StreamSettings
from router import StreamRouter

from .common import PATIENCE_S, ROOT, config, figures, is_gone, names, until
from .load import DATE, SETTINGS, Load, Stream, Tally, read, recordings

SENT_BEFORE = 8
READ_BEFORE = 20
# So small that one reader who stops holds the publisher up at once.
SMALL_BUFFER = StreamSettings.model_validate({**SETTINGS.model_dump(), "buffer_bytes_max": 4096})


def child(role: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process of `children.py`; it does not outlive this one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.children", role, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    return process


async def said(process: subprocess.Popen[str], word: str) -> str:
    """Wait until a child says a line that begins with a word; return the rest of it."""
    stdout = process.stdout
    if stdout is None:
        raise RuntimeError("a child without output")
    async with asyncio.timeout(PATIENCE_S):
        while line := await asyncio.to_thread(stdout.readline):
            if line.startswith(word + " "):
                return line.removeprefix(word + " ").strip()
    raise RuntimeError(f"a child ended before it said {word!r}")


def kill(process: subprocess.Popen[str]) -> float:
    """SIGKILL a child; return when it was dead."""
    process.kill()
    process.communicate()
    return time.monotonic()


def _address() -> str:
    address: str = ray.get_runtime_context().gcs_address
    return address


async def kill_publisher() -> dict[str, Any]:
    """SIGKILL of a publishing process: some of its requests are taken over, the others end as publisher_lost."""
    chunks = recordings(1)[0].chunks
    taken = [Stream(f"taken-{number}", chunks) for number in range(3)]
    left = [Stream(f"left-{number}", chunks) for number in range(3)]
    async with StreamRouter.start(config()) as router:
        publisher = child("publish", _address(), *(stream.request_id for stream in [*taken, *left]))
        readers = [asyncio.create_task(read(router, stream)) for stream in [*taken, *left]]
        await said(publisher, f"sent {SENT_BEFORE}")
        killed_at = kill(publisher)
        took_over_s = await asyncio.gather(*(_take_over(router, stream, killed_at) for stream in taken))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*readers)
    tally = Tally()
    for stream in taken:
        tally.count(stream)
    for stream in left:
        tally.count(stream, cut_short_by="publisher_lost")
    return figures(
        "publisher killed",
        tally,
        1,
        list(took_over_s),
        taken_over=len(taken),
        left=len(left),
        left_messages_min=min(len(stream.messages) for stream in left),
        left_ended_after_s=round(max(stream.read_at[-1] for stream in left) - killed_at, 3),
    )


async def _take_over(router: StreamRouter, stream: Stream, killed_at: float) -> float:
    """Take a request over as soon as its publisher counts as gone; return how long after its death that was."""
    while True:
        try:
            async with router.publish(stream.request_id, SETTINGS, date=DATE, take_over=True) as publisher:
                took_over_s = time.monotonic() - killed_at
                await publisher.chunks(stream.chunks[publisher.next_seq - 1 :])
                return took_over_s
        except StreamRouterError as error:
            if time.monotonic() - killed_at > PATIENCE_S:
                raise TimeoutError(f"no take-over within {PATIENCE_S:g} s: {error}") from error
            await asyncio.sleep(0.2)


async def kill_reader() -> dict[str, Any]:
    """SIGKILL of a reading process: another goes on from its cursor, and what it held of the credit comes back."""
    recording = recordings(1, chunks_min=300, chunks_max=1000)[0]
    stream = Stream("read", recording.chunks)
    waited_s: list[float] = []
    async with StreamRouter.start(config()) as router:
        with tempfile.TemporaryDirectory() as folder:
            cursor = Path(folder) / "messages.jsonl"
            reader = child("read", _address(), stream.request_id, str(cursor))
            publishing = asyncio.create_task(_publish_timed(router, stream, waited_s))
            await said(reader, f"read {READ_BEFORE}")
            killed_at = kill(reader)
            for line in cursor.read_text().splitlines(keepends=True):
                if line.endswith("\n"):  # the last one may have been cut off
                    stream.messages.append(json.loads(line))
        read_before = len(stream.messages)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(publishing, read(router, stream, stream.messages[-1]["seq_id"]))
    tally = Tally()
    tally.count(stream)
    return figures(
        "reader killed",
        tally,
        1,
        [stream.read_at[0] - killed_at],
        read_before=read_before,
        publisher_waited_s=round(max(waited_s), 3),
    )


async def _publish_timed(router: StreamRouter, stream: Stream, waited_s: list[float]) -> None:
    async with router.publish(stream.request_id, SMALL_BUFFER, date=DATE) as publisher:
        for chunk in stream.chunks:
            began = time.monotonic()
            await publisher.chunk(chunk)
            waited_s.append(time.monotonic() - began)


async def kill_driver() -> dict[str, Any]:
    """SIGKILL of the driver that started the routers, on somebody else's cluster and on a Ray of its own.

    Nothing stays: no actor, no name, no process, no file, though its publisher had spilled to disk.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False, namespace="somebody-else")
        on_cluster = await _driver_killed(cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
    alone = await _driver_killed("local")
    both = [on_cluster, alone]
    return {
        **figures("driver killed", Tally(), len(both), [one["gone_after_s"] for one in both]),
        "actors_before": on_cluster["actors_before"],
        "processes_before": [one["processes_before"] for one in both],
        "spilled_files_before": [one["spilled_files_before"] for one in both],
        "left": [what for one in both for what in one["left"]],
    }


async def _driver_killed(address: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        driver = child("driver", address, folder)
        told = json.loads(await said(driver, "running"))
        # Ours only: the agents of a Ray of its own end by themselves, about a minute later.
        pids = set(told["pids"])

        def left() -> list[str]:
            found = [f"process {pid}" for pid in pids if not is_gone(pid)]
            if address != "local":
                found += [f"actor {name}" for name in names()]
            return found + [f"file {path}" for path in Path(folder).rglob("*")]

        actors_before = 0 if address == "local" else len(names())
        kill(driver)
        try:
            gone_after_s = await until(lambda: not left(), "nothing of the killed driver is left")
        except TimeoutError:
            gone_after_s = PATIENCE_S
        return {
            "actors_before": actors_before,
            "processes_before": len(pids),
            "spilled_files_before": told["spilled_files"],
            "gone_after_s": gone_after_s,
            "left": left(),
        }


async def shut_down() -> dict[str, Any]:
    """An ordinary end: no actors, names, processes or files are left on the cluster."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
        with tempfile.TemporaryDirectory() as folder:
            chosen = config(publisher={"replay_bytes_max": 1, "spill_dir": folder})
            async with StreamRouter.start(chosen) as router:
                load = Load(router, width=4, pace_s=0.0)
                load.start()
                await until(lambda: sum(stream.ended for stream in load.streams) >= 12, "12 streams have ended")
                tally = await load.stop()
                described = await router.describe()
                actors_before = len(names())
            pids = [actor.pid for actor in [*described.routers, *described.stream_actors]]

            def left() -> list[str]:
                found = [f"process {pid}" for pid in pids if not is_gone(pid)]
                return [
                    *found,
                    *(f"actor {name}" for name in names()),
                    *(str(path) for path in Path(folder).rglob("*")),
                ]

            gone_after_s = await until(lambda: not left(), "nothing is left after the end")
        return figures(
            "shut down", tally, 0, [], actors_before=actors_before, gone_after_s=round(gone_after_s, 3), left=[]
        )
    finally:
        ray.shutdown()
        cluster.shutdown()
