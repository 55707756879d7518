"""One call of AWS, and what its failure means: come back later, or a sentence for the person who asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from operations.errors import UserError
from operations.patience import LaterError

T = TypeVar("T")
LATER = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "Unavailable",
    }
)
"""Codes (EC2 API reference, Error codes; Route 53, Common Errors) that say nothing about what was asked for."""
FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
UNKNOWN_CALLER = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


def asked(
    call: Callable[[], T],
    what: str,
    refusal: Callable[[str], UserError],
    later: Callable[[str, str], bool] = lambda _code, _said: False,
) -> T:
    """What the call returns. `what` is being done, for messages. LaterError when AWS is busy, late, or `later(code, text)`
    says so; else `refusal` of a sentence."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

    try:
        return call()
    except ClientError as error:
        code = str(error.response["Error"].get("Code", ""))
        said = str(error.response["Error"].get("Message", "") or code)
        if code in LATER or _status(error) >= 500 or later(code, said):
            raise LaterError(f"AWS is busy ({code})") from None
        raise refusal(_sentence(code, said, what)) from None
    except NoCredentialsError:
        raise refusal("AWS does not know who you are: sign in, for instance with `aws sso login`") from None
    except HTTPClientError as error:
        raise LaterError(f"AWS does not answer ({error})") from None
    except BotoCoreError as error:
        raise refusal(f"{what} failed: {error}") from None


def of_account(sts: Any, account: str, refusal: Callable[[str], UserError]) -> None:
    """Refuse credentials of another account than the stack's: nothing of it is there. May raise LaterError."""
    caller = asked(sts.get_caller_identity, "asking AWS who you are", refusal)
    if caller["Account"] != account:
        raise refusal(
            f"your AWS credentials are of account {caller['Account']}, but the stack belongs to {account}: take credentials of that "
            "account (AWS_PROFILE)"
        )


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _sentence(code: str, said: str, what: str) -> str:
    if code in FORBIDDEN:
        return f"your AWS credentials may not do this: {what} ({said}); let your role do it"
    if code in UNKNOWN_CALLER:
        return f"AWS does not take your credentials ({said}): sign in again, for instance with `aws sso login`"
    return f"{what} was refused by AWS: {said}"
