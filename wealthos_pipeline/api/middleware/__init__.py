"""What happens to every request and answer."""

from wealthos_pipeline.api.middleware.local import LoopbackOnly
from wealthos_pipeline.api.middleware.security import SecurityHeaders

__all__ = ["LoopbackOnly", "SecurityHeaders"]
