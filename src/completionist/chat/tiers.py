"""Which tier serves a request, and so what `service_tier` says in its answer (contract, section 8.3)."""

from __future__ import annotations

from completionist.types.caller import Caller, ServiceTier
from completionist.types.refusals import ServiceTierNotAllowed
from completionist.types.request import ChatRequest


def tier_of(request: ChatRequest, caller: Caller) -> ServiceTier:
    """Raises `ServiceTierNotAllowed`: only a project whose own tier is `scale` may ask for it."""
    match request.service_tier:
        case None | "auto":
            return caller.service_tier
        case "fast" | "priority":
            return "priority"
        case "scale" if caller.service_tier != "scale":
            raise ServiceTierNotAllowed
        case tier:
            return tier
