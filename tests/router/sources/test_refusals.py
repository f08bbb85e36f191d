"""Promise: what a provider says of asking again is heeded, in whatever way it says it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from router.sources.refusals import read_refusal


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "300", "retry-after": "20"}, 0.3),
    ],
)
def test_when_to_ask_again_by_headers(headers, after_s):
    assert read_refusal("{}", headers).retry_after_s == after_s


def test_when_to_ask_again_by_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    after_s = read_refusal("", {"retry-after": date}).retry_after_s
    assert after_s is not None
    assert 50 < after_s <= 60
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)
    assert read_refusal("", {"retry-after": past}).retry_after_s == 0.0


@pytest.mark.parametrize("in_array", [False, True])
def test_when_to_ask_again_by_geminis_retry_info(in_array):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": details}}
    refusal = read_refusal(json.dumps([body] if in_array else body), {})
    assert (refusal.retry_after_s, refusal.should_retry) == (34.5, None)
    assert "Quota exceeded" in refusal.text


@pytest.mark.parametrize(
    ("body", "headers", "should_retry"),
    [
        ({"error": {"code": "insufficient_quota", "message": "m"}}, {}, False),
        ({"error": {"type": "insufficient_quota", "message": "m"}}, {"x-should-retry": "true"}, False),
        ({"error": {"code": "rate_limit_exceeded", "message": "m"}}, {}, None),
        ({"error": {"message": "m"}}, {"x-should-retry": "false"}, False),
        ({"error": {"message": "m"}}, {"x-should-retry": "True"}, True),
        ({}, {"x-should-retry": "perhaps"}, None),
    ],
)
def test_whether_to_ask_again(body, headers, should_retry):
    assert read_refusal(json.dumps(body), headers).should_retry is should_retry


@pytest.mark.parametrize(
    ("body", "text"), [("", "(no body)"), ("down", "down"), ('{"detail": "no"}', "no"), ("[]", "[]")]
)
def test_why_is_the_providers_text(body, text):
    assert read_refusal(body, {}).text == text
