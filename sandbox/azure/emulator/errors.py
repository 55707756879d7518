"""How ARM says no. Codes and statuses: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors"""

from __future__ import annotations

from typing import Any


class ArmError(Exception):
    """An answer other than success. `str()` is the message; `code` is what programs look at."""

    def __init__(self, status: int, code: str, message: str, *, target: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.target = target

    def body(self) -> dict[str, Any]:
        """ARM's error envelope."""
        error: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.target:
            error["target"] = self.target
        return {"error": error}


def bad(message: str, *, code: str = "InvalidParameter", target: str = "") -> ArmError:
    """400: the request itself is wrong."""
    return ArmError(400, code, message, target=target)


def conflict(message: str, *, code: str = "Conflict") -> ArmError:
    """409: not as things stand now."""
    return ArmError(409, code, message)
