"""Error mapping: rules, shapes of error bodies, and when to ask again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from providers.backends.error_mapping import ErrorReply, ErrorRule, error_for, parse_error, retry_after
from providers.errors import (
    AccessDenied,
    ModelGone,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    RequestRejected,
    RequestTooLarge,
)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after-ms": "1500", "Retry-After": "9"}, {}, 1.5),
        ({"Retry-After": "9"}, {"retry_after": 3}, 9.0),
        ({"Retry-After": "0"}, {}, 0.0),
        ({"Retry-After": "-5"}, {}, 0.0),
        ({"Retry-After": "2.5"}, {}, 2.5),
        ({}, {"retry_after": 3}, 3.0),
        ({}, {"error": {"retry_after": "4"}}, 4.0),
        ({}, {"error": {"metadata": {"retry_after_seconds": 5}}}, 5.0),
        ({"Retry-After": "soon"}, {}, None),
        ({"Retry-After": "nan"}, {"retry_after": "inf"}, None),
        ({}, {"retry_after": [1]}, None),
        ({}, {"error": "text"}, None),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}, {}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "12",
                "x-ratelimit-reset-tokens": "1m30.5s",
                "x-ratelimit-remaining-tokens": "0",
            },
            {},
            90.5,
        ),
        ({"x-ratelimit-reset-tokens": "20ms", "x-ratelimit-remaining-tokens": "0"}, {}, 0.02),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "12"}, {}, None),
        ({"Retry-After": "7", "x-ratelimit-reset-requests": "6m0s"}, {}, 7.0),
        ({}, {"error": {"message": "Rate limit reached. Please try again in 2m30s."}}, 150.0),
        ({}, {"error": {"message": "Please retry in 12.5s, thank you"}}, 12.5),
        ({}, {"message": "Quota exceeded; wait 42 seconds"}, 42.0),
        ({}, {"error": {"message": "try again later: 500 words"}}, None),
        ({"Retry-After": "Fri, 01 Jan 2021 00:00:00 GMT"}, {}, 0.0),
        ({"Retry-After": "Fri, 01 Jan 2021 00:00:00 -0000"}, {}, 0.0),
    ],
)
def test_when_to_ask_again(headers: dict[str, str], body: dict[str, Any], seconds: float | None) -> None:
    assert retry_after(CaseInsensitiveDict(headers), body) == seconds


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("anthropic-ratelimit-tokens-reset", lambda moment: moment.isoformat().replace("+00:00", "Z")),
        ("X-RateLimit-Reset", lambda moment: str(round(moment.timestamp() * 1000))),
        ("x-ratelimit-reset", lambda moment: str(round(moment.timestamp()))),
    ],
)
def test_a_limit_may_name_the_moment_of_its_reset(name, form):
    headers = {name: form(datetime.now(UTC) + timedelta(seconds=240))}
    in_body = {"error": {"metadata": {"headers": headers}}}

    for seconds in (retry_after(CaseInsensitiveDict(headers), {}), retry_after({}, in_body)):
        assert seconds is not None
        assert 230 < seconds < 245


@pytest.mark.parametrize(
    ("status", "codes", "text", "expected"),
    [
        # Named by their repositories: how gateways dress up what others have said.
        (400, (), "litellm.AuthenticationError: Incorrect API key provided: sk-x", AccessDenied),  # BerriAI/litellm
        (500, (), "API key not valid. Please pass a valid API key.", AccessDenied),
        (403, ("insufficient_user_quota",), "user quota is not enough", AccessDenied),  # QuantumNous/new-api
        (400, ("billing_hard_limit_reached",), "Billing hard limit has been reached.", AccessDenied),
        (503, (), "No available channel for model gpt-6 under group default", ModelGone),  # QuantumNous/new-api
        (400, (), "litellm.BadRequestError: The model `gpt-9` does not exist", ModelGone),  # BerriAI/litellm
        (404, ("DeploymentNotFound",), "The API deployment for this resource does not exist.", ModelGone),  # Azure
        (429, (), "Request too large for gpt-6 on tokens per min: Limit 30000, Requested 42000.", RequestTooLarge),
        (400, ("context_length_exceeded",), "This model's maximum context length is 8192 tokens.", RequestTooLarge),
        (401, (), "You have 30 credits remaining, while 900 credits are required.", RequestTooLarge),
        (401, (), "You have 0 credits remaining, while 900 credits are required.", AccessDenied),
        (400, (), "messages: at least one message is required", RequestRejected),
    ],
)
def test_what_is_dressed_up_is_known(status, codes, text, expected):
    assert error_for(ErrorReply(status, codes, text), ()) is expected


def test_when_to_ask_again_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    seconds = retry_after({"Retry-After": date}, {})
    assert seconds is not None
    assert 3000 < seconds <= 3600


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        ({"error": {"code": "c", "type": "t", "message": "m"}}, ErrorReply(400, ("c", "t"), "m")),
        ({"error": {"code": None, "type": "t", "message": None}}, ErrorReply(400, ("t",), "")),
        ({"error": "m", "code": "c"}, ErrorReply(400, ("c",), "m")),
        ({"message": "m", "code": 7}, ErrorReply(400, ("7",), "m")),
        ({"message": ["m"]}, ErrorReply(400, (), "")),
        ({"code": {"a": 1}, "message": "m"}, ErrorReply(400, (), "m")),
        ({}, ErrorReply(400, (), "")),
    ],
)
def test_it_reads_errors_in_any_shape(body: dict[str, Any], reply: ErrorReply) -> None:
    read = parse_error(400, body, (("code",), ("type",)))
    assert (read.status, read.codes) == (reply.status, reply.codes)
    assert not reply.text or read.text == reply.text


@pytest.mark.parametrize(
    ("codes", "status"), [(502, 502), ("429", 429), ("4290", 200), ("x", 200), ("9" * 5000, 200), (200, 200)]
)
def test_a_200_may_name_another_status(codes: Any, status: int) -> None:
    assert parse_error(200, {"error": {"code": codes}}, (("code",),)).status == status
    assert parse_error(401, {"error": {"code": codes}}, (("code",),)).status == 401


def test_the_first_rule_that_fits_decides() -> None:
    rules = (
        ErrorRule(ModelGone, statuses=(400,), codes=("gone",)),
        ErrorRule(RateLimited, text=r"slow\s+down"),
        ErrorRule(OutcomeUnknown, statuses=(400,)),
    )
    decide = [
        (ErrorReply(400, ("other", "gone")), ModelGone),
        (ErrorReply(401, ("gone",)), AccessDenied),
        (ErrorReply(400, (), "Please SLOW down"), RateLimited),
        (ErrorReply(400), OutcomeUnknown),
        (ErrorReply(418), RequestRejected),
        (ErrorReply(200), OutcomeUnknown),
        (ErrorReply(599), OutcomeUnknown),
    ]
    for reply, expected in decide:
        assert error_for(reply, rules) is expected


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (400, "Insufficient balance", AccessDenied),
        (429, "Your credit balance is too low", AccessDenied),
        (429, "You have run out of credits", AccessDenied),
        (429, "Credits exhausted", AccessDenied),
        (429, "Resource has been exhausted (e.g. check quota)", RateLimited),  # Google's message for a rate limit
        (500, "Insufficient balance", OutcomeUnknown),
    ],
)
def test_insufficient_funds_are_recognised_by_the_message(
    status: int, text: str, expected: type[ProviderError]
) -> None:
    assert error_for(ErrorReply(status, (), text), ()) is expected
