"""A language model plays a session through the common chat-completions interface."""

from m890sim.protocol.chat.endpoint import ApiKey, Endpoint, ModelError
from m890sim.protocol.chat.loop import ModelPlayer, Sampling

__all__ = ["Endpoint", "ApiKey", "ModelError", "ModelPlayer", "Sampling"]
