"""Facts about ARM's documents that emulator and stand-in share."""

from __future__ import annotations

RECORD_LISTS = {
    "A": "ARecords",
    "AAAA": "AAAARecords",
    "CNAME": "CNAMERecord",
    "CAA": "caaRecords",
    "MX": "MXRecords",
    "TXT": "TXTRecords",
}
"""Type of a DNS record set -> where its records are (https://learn.microsoft.com/rest/api/dns/record-sets)."""

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
CALLER = "33333333-3333-4333-8333-333333333333"
"""Tenant, application and object id of the one who calls."""
