"""The parts of the section `gateway` that say who may come: signed tokens, and a trusted proxy."""

from __future__ import annotations

import ipaddress
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

Algorithm = Literal["RS256", "ES256", "EdDSA"]
ALGORITHMS: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
Scope = Literal["read", "run", "cancel", "admin"]
_HEADER = r"^[A-Za-z0-9-]+$"


class _Section(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ClaimsConfig(_Section):
    """What a signed token says, by the names of its claims."""

    name: str = Field("sub", min_length=1, description="Who it is.")
    scope: str = Field("scope", min_length=1, description="Of read, run, cancel and admin; others are left alone.")
    tenant: str | None = Field("tenant", min_length=1, description="Whose runs; null: tokens name no tenant.")
    agents: str | None = Field("agents", min_length=1, description="Of these agents only; where it is not there, all.")


class JwtConfig(_Section):
    """Signed tokens (JWT) of an issuer."""

    jwks: str = Field(min_length=1, description="The issuer's public keys: https://..., or a file.")
    issuer: str = Field(min_length=1, description="What `iss` has to be.")
    audience: str = Field(min_length=1, description="What `aud` has to be, or hold.")
    algorithms: tuple[Algorithm, ...] = Field(ALGORITHMS, min_length=1, description="With which they may be signed.")
    claims: ClaimsConfig = Field(default_factory=ClaimsConfig, description="What its claims are called.")
    leeway_s: float = Field(30.0, ge=0, le=600, description="By how much the issuer's clock may differ.")
    refresh_s: float = Field(3600.0, gt=0, description="Keys that are older are fetched anew.")
    retry_s: float = Field(10.0, gt=0, description="They are not fetched more often, whatever key a token names.")
    fetch_timeout_s: float = Field(5.0, gt=0, le=60, description="How long a fetch may take.")

    @field_validator("jwks")
    @classmethod
    def _keys_come_from_whom_they_say(cls, jwks: str) -> str:
        if "://" in jwks:
            place = urlsplit(jwks)
            if place.scheme != "https" and not (place.scheme == "http" and is_loopback(place.hostname or "")):
                raise ValueError(f"expected an address https://..., or a file, got {jwks!r}")
        return jwks

    @property
    def is_address(self) -> bool:
        """Whether the keys are fetched, and not read from a file."""
        return "://" in self.jwks


class ProxyConfig(_Section):
    """A proxy that has found out who asks, and says so in headers. It must remove them from what its clients send."""

    addresses: tuple[str, ...] = Field(min_length=1, description="From where it connects: addresses, or networks.")
    name_header: str = Field("X-Auth-Name", pattern=_HEADER, description="Who asks; without it, nobody is named.")
    scope_header: str | None = Field("X-Auth-Scope", pattern=_HEADER, description="Their scopes; null: `scopes`.")
    tenant_header: str | None = Field("X-Auth-Tenant", pattern=_HEADER, description="Whose runs; null: none.")
    agents_header: str | None = Field("X-Auth-Agents", pattern=_HEADER, description="Of these agents only; null: all.")
    scopes: tuple[Scope, ...] = Field(("read",), description="Everybody's, where scope_header is null.")

    @field_validator("addresses")
    @classmethod
    def _addresses_are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                raise ValueError(f"expected an address such as 10.0.0.7 or 10.0.0.0/8: {error}") from None
        return addresses
