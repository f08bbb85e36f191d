"""What a proxy says of who asks counts from where the proxy is, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import NotPermitted
from gateway.access import Caller
from gateway.access_config import ProxyConfig
from gateway.trusted_proxy import TrustedProxy


def proxy(**config: Any) -> TrustedProxy:
    return TrustedProxy(ProxyConfig.model_validate({"addresses": ["10.0.0.0/8", "::1"], **config}))


def caller(proxy: TrustedProxy, **headers: Any) -> Caller | None:
    sent = {name.replace("_", "-"): [value] if isinstance(value, str) else value for name, value in headers.items()}
    return proxy.caller(lambda header: sent.get(header, []))


@pytest.mark.parametrize(
    ("address", "is_it"),
    [("10.1.2.3", True), ("::1", True), ("::ffff:10.0.0.1", True), ("11.0.0.1", False), ("::2", False),
     ("", False), (None, False), ("proxy", False)],
)  # fmt: skip
def test_the_proxy_is_where_the_configuration_says(address: str | None, *, is_it: bool):
    assert proxy().is_at(address) is is_it


def test_its_headers_say_who_asks_and_what_they_may():
    said = {"X_Auth_Name": "ada", "X_Auth_Scope": "read, run openid", "X_Auth_Tenant": "team-a", "X_Auth_Agents": "a,b"}
    assert caller(proxy(), **said) == Caller("ada", frozenset({"read", "run"}), "team-a", frozenset({"a", "b"}))
    assert caller(proxy(), X_Auth_Name="ada") == Caller("ada", frozenset())
    assert caller(proxy(), X_Auth_Scope="admin") is None
    assert caller(proxy(), X_Auth_Name=" ") is None
    assert caller(proxy(scope_header=None, scopes=["cancel"]), **said) == Caller(
        "ada", frozenset({"cancel"}), "team-a", frozenset({"a", "b"})
    )
    other = proxy(name_header="X-Forwarded-User", tenant_header=None, agents_header=None)
    assert caller(other, X_Forwarded_User="ada", **said) == Caller("ada", frozenset({"read", "run"}))


def test_a_header_that_came_twice_is_not_all_the_proxys():
    with pytest.raises(NotPermitted, match="X-Auth-Scope came 2 times; the proxy has to remove"):
        caller(proxy(), X_Auth_Name="ada", X_Auth_Scope=["read", "admin"])


@pytest.mark.parametrize("tenant", ["*", "a b", "team:a", "x" * 65])
def test_what_can_be_no_tenant_is_refused(tenant: str):
    with pytest.raises(NotPermitted, match="can be no tenant's name"):
        caller(proxy(), X_Auth_Name="ada", X_Auth_Tenant=tenant)


@pytest.mark.parametrize("name", ["x" * 257, "a\udcff", "a\0", "a\x1fb"])
def test_a_name_is_printable_and_has_an_end(name: str):
    with pytest.raises(NotPermitted, match="printable text of at most 256"):
        caller(proxy(), X_Auth_Name=name)
