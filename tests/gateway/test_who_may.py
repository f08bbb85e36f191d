"""Who may come, how often, and what they reach, over real HTTP: tenants, agents, signed tokens, proxies and limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.errors import ConfigError, LimitExceeded, NotPermitted, RouterUnavailable
from gateway.config import gateway_section
from gateway.serving.entry import Entry
from tests.gateway.fakes import Served, served
from tests.gateway.issuer import AUDIENCE, ISSUER, jwk, jwks, token
from tests.gateway.said import RECORDED, messages_of

MESSAGES = messages_of(next(file for file in RECORDED if file.stem == "openai-tool-2"))
AGENTS = {"ada": {"run": "agents:ada"}, "bob": {"run": "agents:bob"}}
NAMES = ("a", "b", "root", "ada", "none")
LINES = """
a    0123456789abcdef-a    read,run,cancel team-a
b    0123456789abcdef-b    read,run,cancel team-b
root 0123456789abcdef-root admin
ada  0123456789abcdef-ada  read,run,cancel team-a ada
none 0123456789abcdef-none read
"""
WHO: dict[str, Any] = {name: {"headers": {"Authorization": f"Bearer 0123456789abcdef-{name}"}} for name in NAMES}


@pytest.fixture
def section(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "tokens"
    file.write_text(LINES)
    return {"tokens_file": str(file), "agents": AGENTS, "subject": "*"}


def said(gateway: Served, tenant: str, request_id: str, agent: str = "ada") -> None:
    gateway.router.of_tenant(tenant).open(request_id, agent=agent).say(MESSAGES, end=True)


READS = [
    ("GET", "/threads/t/runs/ID"), ("GET", "/threads/t/runs/ID/join"), ("POST", "/threads/t/runs/ID/cancel"),
    ("GET", "/v1/streams/ID/readers"), ("GET", "/v1/streams/ID/as/native"),
    ("GET", "/v1/streams/ID"), ("GET", "/v1/streams/ID/events"), ("POST", "/v1/streams/ID/ticket"),
    ("DELETE", "/v1/streams/ID"), ("GET", "/v1/runs/ID"), ("POST", "/v1/runs/ID/stream"),
    ("GET", "/v1/runs/ID/messages"), ("GET", "/v1/runs/ID/usage"), ("GET", "/v1/runs/ID/steps"),
    ("GET", "/v1/responses/ID"), ("GET", "/v1/responses/ID?stream=true"), ("POST", "/v1/responses/ID/cancel"),
    ("DELETE", "/v1/responses/ID"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), READS)
async def test_the_run_of_another_tenant_or_agent_is_not_there(method: str, path: str, section: dict[str, Any]):
    async with served(**section) as gateway:
        said(gateway, "team-a", "run-1", "bob")
        answers = []
        for who, name in (("b", "run-1"), ("ada", "run-1"), ("b", "run-9")):
            status, answered = await gateway.json(method, path.replace("ID", name), **WHO[who])
            answers.append((status, str(answered).replace("run-9", "run-1")))
        assert answers[0][0] == 404
        assert len(set(answers)) == 1


async def test_each_tenant_has_its_own_runs_under_its_own_names(section: dict[str, Any]):
    async with served(**section) as gateway:
        for who in ("a", "b"):
            body = {"agent": "ada", "input": "Hi", "id": "same"}
            assert (await gateway.json("POST", "/v1/streams", json=body, **WHO[who]))[0] == 201
        assert [(order.tenant, order.full_id) for order in gateway.runners.orders] == [
            ("team-a", "team-a:same"), ("team-b", "team-b:same")
        ]  # fmt: skip
        said(gateway, "team-b", "other")
        for who, names in (("a", ["same"]), ("b", ["same", "other"])):
            _, page = await gateway.json("GET", "/v1/streams", **WHO[who])
            assert [one["id"] for one in page["streams"]] == names
        assert not gateway.router.streams


async def test_readers_of_two_tenants_share_nothing(section: dict[str, Any]):
    async with served(**section) as gateway:
        for tenant, count in (("team-a", 3), ("team-b", 5)):
            gateway.router.of_tenant(tenant).open("same").say(MESSAGES[:count])
        readers = [gateway.http.get(f"{gateway.url}/v1/streams/same/events", **WHO[who]) for who in ("a", "b")]
        async with readers[0] as one, readers[1] as other:
            for answered, last in ((one, b"id: 3\n"), (other, b"id: 5\n")):
                assert last in await answered.content.readuntil(last)
            _, seen = await gateway.json("GET", "/v1/streams/same/readers", **WHO["a"])
            assert len(seen["here"]) == 1
        assert [gateway.router.of_tenant(one).streams["same"].subscriptions for one in ("team-a", "team-b")] == [1, 1]


async def test_admin_sees_all_and_who_is_of_no_tenant_sees_nothing(section: dict[str, Any]):
    async with served(**section) as gateway:
        gateway.router.open("team-a:run-1").say(MESSAGES, end=True)
        assert (await gateway.json("GET", "/v1/streams/team-a:run-1", **WHO["root"]))[0] == 200
        status, answered = await gateway.json("GET", "/v1/streams", **WHO["none"])
        assert status == 403
        assert "'none' is of no tenant, and only the scope admin sees the runs of all" in answered["error"]["message"]
        assert (await gateway.text("/metrics", **WHO["a"]))[0] == 403
        assert (await gateway.text("/metrics", **WHO["root"]))[0] == 200
        assert (await gateway.text("/readyz"))[0] == 200


async def test_agents_are_those_that_a_token_names(section: dict[str, Any]):
    async with served(**section) as gateway:
        _, models = await gateway.json("GET", "/v1/models", **WHO["ada"])
        assert [one["id"] for one in models["data"]] == ["ada"]
        for agent, status in (("ada", 201), ("bob", 400)):
            body = {"agent": agent, "input": "Hi"}
            assert (await gateway.json("POST", "/v1/streams", json=body, **WHO["ada"]))[0] == status
        body = {"model": "bob", "messages": [{"role": "user", "content": "Hi"}]}
        assert (await gateway.json("POST", "/v1/chat/completions", json=body, **WHO["ada"]))[0] == 400
        for number in range(5):
            said(gateway, "team-a", f"run-{number}", "bob" if number % 2 else "ada")
        gateway.router.of_tenant("team-a").page_max = 2
        _, page = await gateway.json("GET", "/v1/streams?limit=3", **WHO["ada"])
        assert [one["tags"]["agent"] for one in page["streams"]] == ["ada"] * 3


async def test_a_ticket_is_for_its_tenants_stream(section: dict[str, Any]):
    async with served(**section) as gateway:
        said(gateway, "team-a", "run-1")
        said(gateway, "team-b", "run-1")
        _, ticket = await gateway.json("POST", "/v1/streams/run-1/ticket", **WHO["a"])
        assert (await gateway.text(ticket["events"]))[0] == 200
        moved = ticket["events"].replace("team-a", "team-b")
        assert (await gateway.text(moved))[0] == 401


async def test_a_gateway_of_one_tenant_serves_that_tenant(section: dict[str, Any], tmp_path: Path):
    with pytest.raises(ConfigError, match=r"names the tenant 'team-b', and this gateway's own token .* is of 'team-a'"):
        async with served(**{**section, "subject": "team-a"}):
            pass
    with pytest.raises(ConfigError, match="names tenants, and the service has none: set"):
        async with served(**{**section, "subject": None}):
            pass
    (tmp_path / "tokens").write_text("a 0123456789abcdef-a read,run team-a\nnone 0123456789abcdef-none read,run\n")
    async with served(**{**section, "subject": "team-a"}) as gateway:
        gateway.router.open("run-1").say(MESSAGES, end=True)
        for who in ("a", "none"):
            assert (await gateway.json("GET", "/v1/streams/run-1", **WHO[who]))[0] == 200
            assert (await gateway.json("POST", "/v1/streams", json={"agent": "ada", "input": ""}, **WHO[who]))[0] == 201
        assert {order.tenant for order in gateway.runners.orders} == {None}


# --- signed tokens, and proxies ---------------------------------------------------------------------


async def test_signed_tokens_say_who_may_and_what(tmp_path: Path):
    (tmp_path / "keys.json").write_bytes(jwks(jwk("ES256", "k1")))
    jwt = {"jwks": str(tmp_path / "keys.json"), "issuer": ISSUER, "audience": AUDIENCE}
    (tmp_path / "tokens").write_text("a 0123.4567.89abcdef read team-a\n")
    async with served("*", jwt=jwt, agents=AGENTS, tokens_file=str(tmp_path / "tokens")) as gateway:
        said(gateway, "team-a", "run-1")

        async def asks(path: str = "/v1/streams/run-1", method: str = "GET", **claims: Any) -> int:
            headers = {"Authorization": f"Bearer {token(**claims)}"}
            async with gateway.http.request(method, gateway.url + path, headers=headers) as answered:
                return answered.status

        assert await asks(tenant="team-a") == 200
        assert await asks(tenant="team-b") == 404
        for static, status in (("0123.4567.89abcdef", 200), ("0123456789abcdef", 401)):
            headers = {"Authorization": f"Bearer {static}"}
            assert (await gateway.json("GET", "/v1/streams/run-1", headers=headers))[0] == status
        assert await asks(tenant="team-a", agents=["bob"]) == 404
        assert await asks() == 403
        assert await asks(scope="admin") == 404
        assert await asks(tenant="team-a", scope="openid") == 403
        assert await asks(method="DELETE", tenant="team-a") == 403
        assert await asks(tenant="*") == await asks(exp=1) == await asks(key_id="k2") == 401
        assert (await gateway.json("GET", "/v1/streams"))[0] == 401


async def test_while_an_issuer_is_away_its_tokens_are_asked_to_come_again():
    jwt = {"jwks": "http://127.0.0.1:9/keys", "issuer": ISSUER, "audience": AUDIENCE}
    async with (
        served(jwt=jwt) as gateway,
        gateway.http.get(f"{gateway.url}/v1/streams", headers={"Authorization": f"Bearer {token()}"}) as answered,
    ):
        assert (answered.status, answered.headers["Retry-After"]) == (503, "1")
        assert (await answered.json())["error"]["code"] == "keys_missing"


async def test_a_proxy_says_who_asks_where_it_is_the_proxy(section: dict[str, Any]):
    said_by_it = {"X-Auth-Name": "ada", "X-Auth-Scope": "read", "X-Auth-Tenant": "team-a"}
    for address, status in (("127.0.0.1", 200), ("10.0.0.1", 401)):
        async with served("*", proxy={"addresses": [address]}) as gateway:
            said(gateway, "team-a", "run-1")
            assert (await gateway.json("GET", "/v1/streams/run-1", headers=said_by_it))[0] == status
            assert (await gateway.json("GET", "/v1/streams/run-1"))[0] == 401
    async with served(**{**section, "proxy": {"addresses": ["127.0.0.1"]}}) as gateway:
        said(gateway, "team-a", "run-1")
        assert (await gateway.json("GET", "/v1/streams/run-1", **WHO["a"]))[0] == 200, "a token is as good"
        both = {**WHO["root"]["headers"], **said_by_it, "X-Auth-Tenant": "team-b"}
        assert (await gateway.json("GET", "/v1/streams/run-1", headers=both))[0] == 404, "the proxy is believed"


async def test_a_tenant_that_nothing_keeps_apart_is_refused():
    async with served(proxy={"addresses": ["127.0.0.1"]}) as gateway:
        headers = {"X-Auth-Name": "ada", "X-Auth-Scope": "admin", "X-Auth-Tenant": "team-a"}
        status, answered = await gateway.json("GET", "/v1/streams", headers=headers)
        assert status == 403
        assert "this service has no tenants" in answered["error"]["message"]


async def test_tickets_can_have_a_secret_of_their_own(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE is to hold a secret of 16 characters"):
        Entry(gateway_section({"ticket_key_env": "NO_SUCH_VARIABLE"}))
    monkeypatch.setenv("TICKETS", "0123456789abcdef")
    headers = {"X-Auth-Name": "ada", "X-Auth-Scope": "read"}
    async with served(proxy={"addresses": ["127.0.0.1"]}) as gateway:
        gateway.router.open("run-1")
        status, answered = await gateway.json("POST", "/v1/streams/run-1/ticket", headers=headers)
        assert status == 400
        assert "gateway.ticket_key_env" in answered["error"]["message"]
    async with served(proxy={"addresses": ["127.0.0.1"]}, ticket_key_env="TICKETS") as gateway:
        gateway.router.open("run-1").say(MESSAGES, end=True)
        _, ticket = await gateway.json("POST", "/v1/streams/run-1/ticket", headers=headers)
        assert (await gateway.text(ticket["events"]))[0] == 200


# --- how much ---------------------------------------------------------------------------------------


async def test_a_tenant_that_opens_too_many_connections_is_asked_to_wait_and_no_other_is(section: dict[str, Any]):
    async with served(**section, tenant_opens_per_s=0.01) as gateway:
        said(gateway, "team-a", "run-1")
        path = f"{gateway.url}/v1/streams/run-1/events"
        assert (await gateway.json("GET", "/v1/streams", **WHO["a"]))[0] == 200
        async with gateway.http.get(path, **WHO["a"]) as answered:
            assert answered.status == 429
            assert 90 < int(answered.headers["Retry-After"]) <= 100
            assert (await answered.json())["error"]["code"] == "too_many_opens"
        again = {**WHO["a"]["headers"], "Last-Event-ID": "3"}
        async with gateway.http.get(path, headers=again) as answered:
            assert await answered.text() == "retry: 2000\n\n", "a 429 would make an EventSource give up for good"
        assert (await gateway.json("GET", "/v1/streams", **WHO["b"]))[0] == 200


async def test_a_gateway_that_is_full_says_when_to_come_again():
    async with served(readers_max=1) as gateway:
        gateway.router.open("run-1")
        path = f"{gateway.url}/v1/streams/run-1/events"
        async with gateway.http.get(path) as first:
            await first.content.readuntil(b"\n\n")
            async with gateway.http.get(path) as answered:
                assert (answered.status, answered.headers["Retry-After"]) == (429, "1")


@pytest.mark.parametrize(
    ("error", "status"),
    [(LimitExceeded("3 runs are under way"), 429), (RouterUnavailable("it restarts"), 503), (NotPermitted("no"), 403)],
)
async def test_who_may_come_again_is_told_when(error: Any, status: int):
    async with served() as gateway:
        gateway.runners.error = error
        body = {"agent": "ada", "input": "Hi"}
        async with gateway.http.post(f"{gateway.url}/v1/streams", json=body) as answered:
            assert answered.status == status
            assert answered.headers.get("Retry-After") == ("1" if status in (429, 503) else None)


async def test_an_order_says_how_many_runs_its_tenant_may_have(section: dict[str, Any]):
    async with served(**section, tenant_runs_max=2) as gateway:
        body = {"agent": "ada", "input": "Hi"}
        assert (await gateway.json("POST", "/v1/streams", json=body, **WHO["a"]))[0] == 201
        assert [order.tenant_runs_max for order in gateway.runners.orders] == [2]
