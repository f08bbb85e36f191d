"""An issuer of signed tokens: its keys, and the tokens that it signs. Shared by tests; has no tests of its own."""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://issuer.example", "agents"


@functools.cache
def private(algorithm: str, number: int = 0) -> Any:
    """Return a private key for an algorithm."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048 if number >= 0 else 1024)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def jwk(algorithm: str, key_id: str | None, number: int = 0, **more: Any) -> dict[str, Any]:
    """Return a public key as a JWKS lists it."""
    makers: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
    found: dict[str, Any] = json.loads(makers[algorithm].to_jwk(private(algorithm, number).public_key()))
    return found | ({} if key_id is None else {"kid": key_id}) | more


def jwks(*keys: dict[str, Any]) -> bytes:
    """Return a JWKS."""
    return json.dumps({"keys": keys}).encode()


def token(
    algorithm: str = "ES256",
    key_id: str | None = "k1",
    *,
    number: int = 0,
    head: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    **claims: Any,
) -> str:
    """Return a signed token, good for a minute where nothing else is said."""
    said = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "sub": "ada", "scope": "read run"} | claims
    headers = ({} if key_id is None else {"kid": key_id}) | (head or {})
    kept = {name: value for name, value in said.items() if name not in without}
    return jwt.encode(kept, private(algorithm, number), algorithm, headers)
