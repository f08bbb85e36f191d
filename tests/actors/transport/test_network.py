"""Between nodes calls go over TCP where the configuration allows it, encrypted where Ray is, and else through Ray."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl

import pytest
import trustme
from transport_fakes import DEADLINE_S, Actor, Handle, connect, elsewhere, until

from actors.transport import local, network
from actors.transport.line import Line, Raised
from actors.transport.meeting import LOCAL, NETWORK, Address, Reach

ANY = (0, 0)
THERE = Reach("there", "127.0.0.1", True, ANY)
HERE = Reach("here", "127.0.0.1", True, ANY)


class FarActor(Actor):
    """An actor of another node."""

    def __init__(self, reach: Reach = THERE) -> None:
        super().__init__()
        self.door._reach = reach


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("RAY_USE_TLS", raising=False)


@pytest.fixture
def authority(monkeypatch, tmp_path):
    """Let Ray's variables name certificates, as on a cluster that uses TLS."""
    made = trustme.CA()
    use(made, monkeypatch, tmp_path)
    return made


def use(authority: trustme.CA, monkeypatch, folder) -> None:
    certificate = authority.issue_cert("some-node")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    for name, file in zip(network.TLS_NAMES, ("cert.pem", "key.pem", "ca.pem"), strict=True):
        monkeypatch.setenv(name, str(folder / file))


async def settled(line: Line) -> None:
    line.meet_soon()
    await until(lambda: line._meeting is None)


async def test_calls_between_nodes_go_over_tcp_once_they_have_met():
    actor = FarActor()
    line = Line(Handle(actor), HERE)
    await settled(line)
    large = os.urandom(8 * 1024 * 1024)
    assert await line.feed.remote("me", [None, 3], large) == large
    with pytest.raises(Raised):
        await line.tell.remote(b"x")
    assert (line.means, line.why, line.handle.through_ray) == (NETWORK, "", ["meet"])
    line.close()


@pytest.mark.parametrize("reach", [THERE._replace(ports=None), None])
async def test_where_it_is_not_allowed_calls_go_through_ray_and_the_line_says_why(reach):
    line = Line(Handle(FarActor(reach)), HERE)
    await settled(line)
    assert await line.feed.remote(b"x") == b"x"
    assert line.means == "ray"
    assert "node" in line.why or "Ray alone" in line.why


@pytest.mark.skipif(not local.is_possible(), reason="needs Linux")
async def test_within_a_node_there_is_no_tcp_unless_they_share_no_directory(monkeypatch):
    actor = FarActor(HERE)
    line = Line(Handle(actor), HERE)
    await settled(line)
    assert line.means == LOCAL
    line.close()
    apart = FarActor(HERE)
    monkeypatch.setattr(apart.door, "meet", elsewhere(apart.door.meet))
    line = Line(Handle(apart), HERE)
    await settled(line)
    assert line.means == "ray"
    line._meet_at = 0.0
    await settled(line)
    assert line.means == NETWORK
    line.close()


async def test_where_a_port_cannot_be_reached_calls_go_through_ray_within_a_second(monkeypatch):
    monkeypatch.setattr("actors.transport.connection.CONNECT_DEADLINE_S", 0.05)
    actor = FarActor()
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = str(full.getsockname()[1])
    pending = [socket.socket() for _ in range(4)]  # its queue is full: nobody answers
    for one in pending:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(("127.0.0.1", int(port)))
    meet = actor.door.meet
    monkeypatch.setattr(actor.door, "meet", lambda *a, **k: [NETWORK, "127.0.0.1", port, *meet(*a, **k)[3:]])
    line = Line(Handle(actor), HERE)
    line.meet_soon()
    assert await line.feed.remote(b"meanwhile") == b"meanwhile"
    await until(lambda: line._meeting is None)
    assert (line.means, line.handle.through_ray) == ("ray", ["feed", "meet"])
    assert "could not meet: TimeoutError" in line.why
    for one in (full, *pending):
        one.close()


async def test_an_actor_listens_at_its_nodes_address_on_the_ports_that_it_may():
    free = socket.socket()
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
    busy = FarActor(THERE._replace(ports=(port, port)))
    assert f"no port from {port} to {port} is free at 127.0.0.1" in busy.door.meet("here")
    free.close()
    address = Address(*busy.door.meet("here"))
    assert address[:3] == (NETWORK, "127.0.0.1", str(port))
    connection = await connect(address)
    with pytest.raises(ConnectionRefusedError):  # it listens for this one asker
        await connect(address)
    connection.close()


async def test_strangers_do_not_keep_the_asker_away():
    address = Address(*FarActor().door.meet("here"))
    strangers = [await asyncio.open_connection(address.place, address.name) for _ in range(3)]
    strangers[0][1].write(b"GET / HTTP/1.1\r\n\r\n")
    connection = await connect(address)
    assert await connection.call("feed", (b"x",)) == b"x"
    async with asyncio.timeout(DEADLINE_S):
        assert await strangers[0][0].read() == b""
    connection.close()
    for _, writer in strangers:
        writer.close()


@pytest.mark.usefixtures("authority")
async def test_where_ray_speaks_tls_so_do_these_connections():
    line = Line(Handle(FarActor()), HERE)
    await settled(line)
    assert line.means == NETWORK, line.why
    assert line.connection._transport.get_extra_info("cipher") is not None
    assert await line.feed.remote(b"x" * 500_000) == b"x" * 500_000
    line.close()


@pytest.mark.usefixtures("authority")
async def test_whoever_has_no_certificate_of_that_authority_is_not_spoken_to(monkeypatch, tmp_path):
    address = Address(*FarActor().door.meet("here"))
    use(trustme.CA(), monkeypatch, tmp_path)  # the asker's is of another one
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect(address)
    monkeypatch.setenv("RAY_USE_TLS", "0")  # and openly nothing is said either
    with pytest.raises((OSError, TimeoutError)):
        await connect(address)


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize("missing", network.TLS_NAMES)
async def test_a_certificate_that_is_not_named_is_no_reason_to_speak_openly(monkeypatch, missing):
    monkeypatch.delenv(missing)
    line = Line(Handle(FarActor()), HERE)
    await settled(line)
    assert line.means == "ray"
    assert f"{missing} must name a file" in line.why


async def test_a_peer_that_vanishes_is_noticed_by_the_system():
    line = Line(Handle(FarActor()), HERE)
    await settled(line)
    connected = line.connection._transport.get_extra_info("socket")
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == network.UNTAKEN_MS_MAX
    line.close()
