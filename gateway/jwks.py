"""Signed tokens (JWT): an issuer's public keys, and what a token says that one of them has signed.

Theory. Which algorithm a token is checked with is said by the key, never by the token: an RSA key checks RS256 and
nothing else, so a token cannot have a public key taken for a shared secret, nor be signed with nothing. A token whose
key is not known may be signed with a new one: that is `UnknownKey`, and whoever holds the keys decides whether to look
for new ones (`gateway.serving.keys`).

PyJWT (the extra `gateway`) does the cryptography; it also compares `exp` and `nbf` with the clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

from actors.errors import ConfigError, NotPermitted
from gateway.access import SCOPES, Caller, is_name, is_tenant
from gateway.access_config import ClaimsConfig, JwtConfig
from gateway.trusted_proxy import words

RSA_BITS_MIN = 2048
_ALGORITHM_OF = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}


class UnknownKey(Exception):  # it never leaves this package
    """A token names a key that is not among those that are known."""


class PublicKey(NamedTuple):
    """One key, and the algorithm that it is for."""

    key_id: str | None
    algorithm: str
    key: Any


class PublicKeys:
    """The public keys of an issuer."""

    def __init__(self, keys: list[PublicKey]) -> None:
        self._keys = keys

    @classmethod
    def parse(cls, raw: bytes, source: str) -> PublicKeys:
        """Read a JWKS; keys that are for something else are left out. Raises ConfigError."""
        try:
            listed = json.loads(raw)["keys"]
        except (ValueError, KeyError, TypeError, RecursionError):
            listed = None
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise ConfigError(f'{source}: expected a JWKS, {{"keys": [...]}}, got {raw[:60]!r}')
        if any("d" in one or one.get("kty") == "oct" for one in listed):
            raise ConfigError(f"{source}: one of these keys is a secret one; a JWKS has public keys only: replace it")
        keys = [key for one in listed if (key := _read(one)) is not None]
        if not keys:
            raise ConfigError(
                f"{source}: none of its {len(listed)} keys can check a token; wanted are RSA of {RSA_BITS_MIN} bits or "
                "more, EC on P-256, or Ed25519"
            )
        return cls(keys)

    def key(self, key_id: str | None, algorithm: str) -> PublicKey:
        """Return the key that a token names; without a name, the only one there is. Raises UnknownKey, NotPermitted."""
        fitting = [one for one in self._keys if one.algorithm == algorithm]
        if key_id is None:
            if len(fitting) != 1:
                raise NotPermitted(f"this token names no key (kid), and there are {len(fitting)} for {algorithm}")
            return fitting[0]
        found = next((one for one in fitting if one.key_id == key_id), None)
        if found is None:
            raise UnknownKey(key_id)
        return found


def _read(jwk: Mapping[str, Any]) -> PublicKey | None:
    """Return a key; None for one that is for something else, or broken."""
    library = pyjwt()
    algorithm = _ALGORITHM_OF.get((str(jwk.get("kty")), None if jwk.get("kty") == "RSA" else str(jwk.get("crv"))))
    key_id = jwk.get("kid")
    is_ours = algorithm is not None and jwk.get("use") in (None, "sig") and jwk.get("alg") in (None, algorithm)
    if algorithm is None or not is_ours or not isinstance(key_id, str | None):
        return None
    try:
        key = library.PyJWK(dict(jwk), algorithm).key
    except (library.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if algorithm == "RS256" and key.key_size < RSA_BITS_MIN:
        return None
    return PublicKey(key_id, algorithm, key)


def claims_of(token: str, keys: PublicKeys, config: JwtConfig) -> dict[str, Any]:
    """Return what a token says that one of the keys has signed. Raises NotPermitted, UnknownKey."""
    library = pyjwt()
    try:
        head = library.get_unverified_header(token)
    except (library.PyJWTError, ValueError, RecursionError) as error:
        raise NotPermitted(f"this is no signed token: {error}") from None
    algorithm = head.get("alg")
    if algorithm not in config.algorithms:
        raise NotPermitted(f"expected a token signed with {', '.join(config.algorithms)}, not {str(algorithm)[:40]!r}")
    if "crit" in head:
        raise NotPermitted("this token's head wants something (crit) that is not known here")
    key = keys.key(head.get("kid"), str(algorithm))
    try:
        claims: dict[str, Any] = library.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=config.audience,
            issuer=config.issuer,
            leeway=config.leeway_s,
            options={"require": ["exp", "aud", "iss"]},
        )
    except (library.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise NotPermitted(f"this token is not good here: {error}") from None
    return claims


def caller_of(claims: Mapping[str, Any], config: ClaimsConfig) -> Caller:
    """Return whom a token is for. Raises NotPermitted where its claims say nobody."""
    name = claims.get(config.name)
    if not isinstance(name, str) or not is_name(name):
        raise NotPermitted(f"this token does not say whose it is: {config.name} is to be printable text")
    tenant = None if config.tenant is None else claims.get(config.tenant)
    if tenant is not None and not (isinstance(tenant, str) and is_tenant(tenant)):
        raise NotPermitted(f"{config.tenant}: {str(tenant)[:80]!r} can be no tenant's name")
    agents = None if config.agents is None else claims.get(config.agents)
    scopes = frozenset(_listed(claims.get(config.scope, ()), config.scope)) & SCOPES
    named = None if agents is None else frozenset(_listed(agents, config.agents or ""))
    return Caller(name, scopes, tenant, named)


def _listed(value: Any, claim: str) -> list[str]:
    if isinstance(value, str):
        return words(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return list(value)
    raise NotPermitted(f"{claim}: expected a list of texts, or one text, got {type(value).__name__}")


def pyjwt() -> ModuleType:
    """Return the library. Raises ConfigError where it is not installed."""
    try:
        import jwt as library  # noqa: PLC0415  # an extra
        from jwt.algorithms import has_crypto  # noqa: PLC0415
    except ImportError:
        has_crypto = False
    if not has_crypto:
        raise ConfigError("gateway.jwt wants PyJWT with cryptography: pip install 'agent-stream-router[gateway]'")
    return library
