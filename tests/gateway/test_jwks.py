"""Signed tokens: only what a key of the issuer has signed counts, and of that only what is meant for us, now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.errors import ConfigError, NotPermitted
from gateway.access import Caller
from gateway.access_config import ClaimsConfig, JwtConfig
from gateway.jwks import PublicKeys, UnknownKey, caller_of, claims_of
from tests.gateway.issuer import AUDIENCE, ISSUER, jwk, jwks, private, token

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
CONFIG = JwtConfig(jwks="keys.json", issuer=ISSUER, audience=AUDIENCE)


@pytest.fixture(scope="module")
def keys() -> PublicKeys:
    return PublicKeys.parse(jwks(*(jwk(one, f"key-{one}") for one in ALGORITHMS)), "keys.json")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, "sub": "mallory", "scope": "admin", **more}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_the_issuer_has_signed_is_taken(algorithm: str, keys: PublicKeys):
    said = claims_of(token(algorithm, f"key-{algorithm}", aud=[AUDIENCE, "others"]), keys, CONFIG)
    assert (said["sub"], said["scope"]) == ("ada", "read run")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_another_has_signed_or_changed_is_not(algorithm: str, keys: PublicKeys):
    with pytest.raises(NotPermitted, match="Signature verification failed"):
        claims_of(token(algorithm, f"key-{algorithm}", number=1), keys, CONFIG)
    head, _, mac = token(algorithm, f"key-{algorithm}").split(".")
    with pytest.raises(NotPermitted):
        claims_of(f"{head}.{part(claims())}.{mac}", keys, CONFIG)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_token_has_a_public_key_taken_for_a_secret_or_is_signed_with_nothing(algorithm: str, keys: PublicKeys):
    public = private(algorithm).public_key()
    for secret in (public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), b""):
        for alg in ("HS256", "none", "None", "hs256", "", None, 7, ["RS256"], {}):
            said = f"{part({'alg': alg, 'typ': 'JWT', 'kid': f'key-{algorithm}'})}.{part(claims())}"
            mac = base64.urlsafe_b64encode(hmac.new(secret, said.encode(), hashlib.sha256).digest()).decode()
            for signed in (f"{said}.{mac.rstrip('=')}", f"{said}."):
                with pytest.raises(NotPermitted):
                    claims_of(signed, keys, CONFIG)


def test_a_key_is_for_its_own_algorithm_whatever_a_token_says(keys: PublicKeys):
    for algorithm in ALGORITHMS:
        for other in set(ALGORITHMS) - {algorithm}:
            with pytest.raises((NotPermitted, UnknownKey)):
                claims_of(token(algorithm, f"key-{other}"), keys, CONFIG)
    only = CONFIG.model_copy(update={"algorithms": ("RS256",)})
    with pytest.raises(NotPermitted, match=r"expected a token signed with RS256, not 'ES256'"):
        claims_of(token("ES256", "key-ES256"), keys, only)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1}, {"exp": "soon"}, {"nbf": 2**40}, {"iss": "https://other.example"}, {"aud": "others"}, {"aud": []},
        {"without": ("exp",)}, {"without": ("iss",)}, {"without": ("aud",)}, {"head": {"crit": ["b64"]}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_for_us_or_not_now_is_refused(changes: dict[str, Any], keys: PublicKeys):
    with pytest.raises(NotPermitted):
        claims_of(token(key_id="key-ES256", **changes), keys, CONFIG)


def test_clocks_may_differ_by_the_leeway(keys: PublicKeys):
    just_over = token(key_id="key-ES256", exp=time.time() - 10)
    assert claims_of(just_over, keys, CONFIG)["sub"] == "ada"
    with pytest.raises(NotPermitted, match="expired"):
        claims_of(just_over, keys, CONFIG.model_copy(update={"leeway_s": 1.0}))


DEEP = base64.urlsafe_b64encode(b"[" * 6_000).decode()


@pytest.mark.parametrize(
    "wrong", ["", ".", "..", "a.b.c", "\ud800.b.c", "e30.e30.e30", "a" * 9_000, f"{part([])}.e30.", f"{DEEP}.e30.e30"]
)
def test_what_is_no_token_is_refused(wrong: str, keys: PublicKeys):
    with pytest.raises(NotPermitted):
        claims_of(wrong, keys, CONFIG)


def test_a_token_that_names_no_key_has_the_only_one_there_is(keys: PublicKeys):
    assert claims_of(token(key_id=None), keys, CONFIG)["sub"] == "ada"
    two = PublicKeys.parse(jwks(jwk("ES256", "k1"), jwk("ES256", "k2", 1)), "keys.json")
    with pytest.raises(NotPermitted, match="names no key"):
        claims_of(token(key_id=None), two, CONFIG)
    with pytest.raises(UnknownKey):
        claims_of(token(key_id="k3"), two, CONFIG)


def test_keys_that_are_for_something_else_or_too_weak_are_left_out():
    left_out = [
        jwk("RS256", "k1", use="enc"), jwk("RS256", "k1", alg="RS512"), jwk("RS256", "k1", -1),
        jwk("ES256", "k1", crv="P-521"), jwk("ES256", "k1", x="!"), {"kty": "new"}, {}, jwk("ES256", "k1") | {"kid": 7},
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="none of its 8 keys can check a token"):
        PublicKeys.parse(jwks(*left_out), "keys.json")
    with pytest.raises(UnknownKey):
        claims_of(token(), PublicKeys.parse(jwks(*left_out, jwk("ES256", "k2")), "keys.json"), CONFIG)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "expected a JWKS"), (b"[]", "expected a JWKS"), (b'{"keys": {}}', "expected a JWKS"),
        (b'{"keys": [1]}', "expected a JWKS"), (b'{"keys": []}', "none of its 0 keys"), (b"\xff", "expected a JWKS"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "is a secret one"),
        (b'{"keys": [{"kty": "RSA", "d": "AQ"}]}', "is a secret one"), (b"[" * 100_000, "expected a JWKS"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_public_keys_is_named(raw: bytes, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        PublicKeys.parse(raw, "keys.json")
    assert str(caught.value).startswith("keys.json: ")


def test_claims_say_who_it_is_and_what_they_may():
    names = ClaimsConfig()
    said = {"sub": "ada", "scope": "read openid admin", "tenant": "team-a", "agents": ["x", "y"]}
    assert caller_of(said, names) == Caller("ada", frozenset({"read", "admin"}), "team-a", frozenset({"x", "y"}))
    assert caller_of({"sub": "ada"}, names) == Caller("ada", frozenset())
    assert caller_of({"sub": "ada", "scope": ["run"], "agents": ""}, names) == Caller(
        "ada", frozenset({"run"}), None, frozenset()
    )
    others = ClaimsConfig(name="email", scope="scp", tenant="https://x/team", agents=None)
    given = {"email": "a@x", "scp": "read", "https://x/team": "t", "agents": "none"}
    assert caller_of(given, others) == Caller("a@x", frozenset({"read"}), "t")


@pytest.mark.parametrize(
    "wrong",
    [{"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 257}, {"sub": "\ud800"}, {"sub": "a\nb"},
     {"tenant": "*"}, {"tenant": 7}, {"tenant": ["a"]},
     {"tenant": ""}, {"agents": 7}, {"agents": [7]}, {"scope": {"read": True}}],
    ids=str,
)  # fmt: skip
def test_claims_that_cannot_be_understood_are_refused(wrong: dict[str, Any]):
    with pytest.raises(NotPermitted):
        caller_of({"sub": "ada", **wrong}, ClaimsConfig())
