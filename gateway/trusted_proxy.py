"""What a proxy says of who asks, in headers of its own. Pure.

A proxy that has asked for a password, a certificate or a session says who came. Its headers count when they come from
an address that is named; from anywhere else they are what anybody can write, and are not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from actors.errors import NotPermitted
from gateway.access import NAME_CHARACTERS_MAX, SCOPES, Caller, is_name, is_tenant
from gateway.access_config import ProxyConfig

Values = Callable[[str], Sequence[str]]
"""All values of a header, by its name."""


class TrustedProxy:
    """Reads what a proxy says."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._networks = [ipaddress.ip_network(address) for address in config.addresses]

    def is_at(self, address: str | None) -> bool:
        """Whether a connection comes from the proxy."""
        try:
            found = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return any(found in network for network in self._networks)

    def caller(self, values: Values) -> Caller | None:
        """Return whom the proxy names; None: it names nobody. Raises NotPermitted for what cannot be one."""
        config = self._config
        name = _one(values, config.name_header)
        if name is None:
            return None
        if not is_name(name):
            raise NotPermitted(
                f"{config.name_header}: expected printable text of at most {NAME_CHARACTERS_MAX} characters"
            )
        tenant, agents = _one(values, config.tenant_header), _one(values, config.agents_header)
        if tenant is not None and not is_tenant(tenant):
            raise NotPermitted(f"{config.tenant_header}: {tenant[:80]!r} can be no tenant's name")
        scopes = config.scopes if config.scope_header is None else words(_one(values, config.scope_header) or "")
        return Caller(name, frozenset(scopes) & SCOPES, tenant, None if agents is None else frozenset(words(agents)))


def words(text: str) -> list[str]:
    """Return the words of a list that is separated by commas, blanks or both."""
    return text.replace(",", " ").split()


def _one(values: Values, header: str | None) -> str | None:
    """Return the value of a header. Raises NotPermitted for two: one of them is not the proxy's."""
    found = [] if header is None else values(header)
    if len(found) > 1:
        raise NotPermitted(f"{header} came {len(found)} times; the proxy has to remove what its clients send of it")
    return found[0].strip() or None if found else None
