"""Endpoint: one request to a server that speaks chat completions, whole or as a stream.

Of the standard library alone. Redirects are refused: they would carry the key elsewhere.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from m890sim.agents.reading import parse_json
from m890sim.errors import M890Error
from m890sim.messages import shown
from m890sim.protocol.chat.stream import Assembly, StreamError

PATH = "/chat/completions"
MOST_REPLY = 8 * 2**20  # bytes of one answer, head and keep-alive lines of a stream included
MOST_ERROR = 64 * 2**10  # bytes of an error's body
MOST_PART = 64 * 2**10  # bytes that are read at once
LEAST_KEY = 4  # characters: a shorter one would be blotted out of every other word
HIDDEN = "(key)"
PASSING = (408, 409, 425, 429)  # statuses after which one asks again, beside all from 500 on
_TOO_LONG = re.compile(r"context|too long|too many tokens|maximum.{0,40}(tokens|length)", re.I)


class ModelError(M890Error):
    """A request that came to nothing.

    passing: the same request may succeed later. after: seconds that the server asks to wait.
    too_long: the conversation has more than the model takes.
    """

    def __init__(
        self,
        text: str,
        *,
        passing: bool = False,
        after: float | None = None,
        too_long: bool = False,
    ) -> None:
        super().__init__(text)
        self.passing, self.after, self.too_long = passing, after, too_long


class ApiKey:
    """A secret from an environment variable, which no text may show.

    Raises: M890Error for what no header can carry; nothing of it is told.
    """

    __slots__ = ("_text",)

    def __init__(self, variable: str) -> None:
        text = os.environ.get(variable, "").strip()
        if text and (len(text) < LEAST_KEY or not text.isascii() or not text.isprintable()):
            raise M890Error(
                f"the key in {shown(variable)} must be at least {LEAST_KEY} printable ASCII "
                "characters; unset it where the server needs none"
            )
        self._text = text

    def __repr__(self) -> str:
        return "ApiKey()"

    def headers(self) -> dict[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self._text}"} if self._text else {}

    def hide(self, value: Any) -> Any:
        """Plain data without the key in any of its texts."""
        if not self._text:
            return value
        if isinstance(value, str):
            return value.replace(self._text, HIDDEN)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.hide(each) for each in value]
        return value


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Endpoint:
    """A server. url: of the server, of its version (.../v1), or of chat completions itself.

    timeout: seconds of one request. Raises: M890Error for what is no such URL.
    """

    def __init__(
        self, url: str, key: ApiKey, *, timeout: float = 600.0, stream: bool = False
    ) -> None:
        self.url = whole_url(url)
        self.stream = stream
        self._key, self._timeout = key, timeout
        self._opener = urllib.request.build_opener(_NoRedirect())

    def ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer as one object of chat completions, without the key. Raises: ModelError."""
        how: dict[str, Any] = {"stream": self.stream}
        if self.stream:
            how["stream_options"] = {"include_usage": True}
        data = json.dumps({**body, **how}).encode("ascii")
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self.stream else "application/json",
            "User-Agent": "m890sim",
            **self._key.headers(),
        }
        request = urllib.request.Request(self.url, data, headers, method="POST")
        end = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                kind = response.headers.get_content_type()
                # A server that was asked for a stream and names no type, or plain text, sends one.
                if kind == "text/event-stream" or (self.stream and kind != "application/json"):
                    found = self._streamed(response, end)
                else:
                    found = self._whole(response, end)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from None
        hidden: dict[str, Any] = self._key.hide(found)
        return hidden

    def _whole(self, response: Any, end: float) -> dict[str, Any]:
        data = b"".join(_parts(response, end))
        try:
            found = parse_json(data)
        except ValueError as error:
            raise self._error(f"its answer is not whole JSON ({error!s:.200})") from None
        if not isinstance(found, dict):
            raise self._error("its answer is no JSON object")
        _raise_said(found, self._error)
        return found

    def _streamed(self, response: Any, end: float) -> dict[str, Any]:
        assembly = Assembly()
        try:
            for line in _lines(response, end):
                event = assembly.take(line)
                if event is not None:
                    _raise_said(event, self._error)
                if assembly.done:
                    break
        except StreamError as error:
            raise self._error(str(error)) from None
        except (OSError, http.client.HTTPException):
            if not assembly.ended:  # else it had said all, and only its farewell is missing
                raise
        try:
            return assembly.whole()
        except StreamError as error:
            raise self._error(str(error)) from None

    def _error(self, text: str, **more: Any) -> ModelError:
        """Passing, for what comes of a server in trouble."""
        return ModelError(self._text(text), **({"passing": True} | more))

    def _text(self, text: str) -> str:
        return f"{self.url}: {shown(self._key.hide(text), 500)}"

    def _failed(self, error: BaseException) -> ModelError:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        lasting = isinstance(reason, ssl.SSLCertVerificationError)
        if isinstance(reason, TimeoutError):
            text = f"no answer within {self._timeout:g} s"
        else:
            text = f"{type(reason).__name__}: {reason}"
        return self._error(text, passing=not lasting)

    def _refused(self, error: urllib.error.HTTPError) -> ModelError:
        status = error.code
        try:
            data = error.read(MOST_ERROR)
        except (OSError, http.client.HTTPException):
            data = b""
        said = _said(data)
        text = f"HTTP {status}{f': {said}' if said else ''}"
        if 300 <= status < 400:
            text += "; redirects are not followed, because the key would go with them"
        too_long = status in (400, 413, 422) and bool(_TOO_LONG.search(said) or status == 413)
        passing = status in PASSING or status >= 500
        return self._error(
            text,
            passing=passing,
            after=seconds_of(error.headers.get("Retry-After")),
            too_long=too_long,
        )


def whole_url(url: str) -> str:
    """The URL of chat completions for what a user gives. Raises: M890Error."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise M890Error(
            f"the model's URL must be as http://localhost:8000/v1, not {shown(url.split('@')[-1])}"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise M890Error(
            "the model's URL must hold no name, password, query or fragment; a key comes from the "
            "environment (--key)"
        )
    path = parts.path.rstrip("/")
    if not path.endswith(PATH):
        path = (path or "/v1") + PATH
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def seconds_of(text: str | None) -> float | None:
    """What a Retry-After header asks for, from seconds or a date; None for what says nothing."""
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def _parts(response: Any, end: float) -> Iterator[bytes]:
    size = 0
    while part := response.read1(MOST_PART):
        size += len(part)
        if size > MOST_REPLY:
            raise http.client.HTTPException(f"the answer has more than {MOST_REPLY} bytes")
        _in_time(end)
        yield part


def _lines(response: Any, end: float) -> Iterator[bytes]:
    """Lines of a body, each as soon as it is there; a last one may have no end."""
    begun: list[bytes] = []
    for part in _parts(response, end):
        first, *lines = part.split(b"\n")
        begun.append(first)
        for line in lines:
            yield b"".join(begun)
            begun = [line]
    yield b"".join(begun)


def _in_time(end: float) -> None:
    if time.monotonic() > end:
        raise TimeoutError


def _said(data: bytes) -> str:
    """What the body of an error says, in one of the usual forms."""
    try:
        found = parse_json(data)
    except ValueError:
        return " ".join(data.decode("utf-8", "replace").split())[:300]
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found[:300] if isinstance(found, str) else json.dumps(found)[:300]


def _raise_said(found: Mapping[str, Any], error: Any) -> None:
    """An error that comes with status 200."""
    if found.get("error") and "choices" not in found:
        raise error(_said(json.dumps({"error": found["error"]}).encode("ascii")))
