"""The one place that says how a source is called without giving its secrets away.

A camera's address often holds its login, in front of the host, among the options, or in the path:

    rtsp://admin:secret@10.0.0.5/stream     http://host/video?token=secret     rtsp://host/user=admin_password=secret_

What is said, logged, shown or written about a source goes through `without_secrets`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"

# Names of options that tell who one is, by the part that cameras and services agree on.
_SECRET = re.compile(
    r"pass|pwd|psw|secret|token|key|auth|sig(?!nal)|cred|jwt|bearer|session|sid$|sas$|hmac|hash|ticket|nonce|otp|pin$"
    r"|code$|user|usr|login|account|^u$|^p$|^pw|^id$|^acl$|^hdn|streamid|access|^t$|^st$|^e$",
    re.IGNORECASE,
)
# In a path cameras join options with all kinds of signs; only the usual names count, for "=" is rare but no secret.
_IN_PATH = re.compile(
    r"(?i)(?<![a-z0-9])((?:user(?:name)?|usr|login(?:use|pas)?|pass(?:word|wd|phrase)?|pwd|psw|token|(?:api|access)?[_-]?key"
    r"|secret|auth|sig(?:nature)?|session|jwt|bearer|credential)s?\w*?(?:=|%3d)|(?:pass(?:word|wd)?|pwd|token|secret):)"
    r"(?:(?!(?:_[a-z]+(?:=|%3d|:)))[^/?#&;,\s\"'])*"
)
# A password may have blanks in it.
_ADDRESS = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://(?:[^\s/@:\"'<>]+:[^/@\n\"'<>]*@)?[^\s\"'<>]*")
_AFTER_ITS_NAME = re.compile(r"(?i)(/(?:token|secret|password|auth|jwt|api-?key|key|session)/)[^/?#]+")
_IP_ADDRESS = re.compile(r"\d+(?:\.\d+){3}(?![\w.])")
# A login in front of a host without a scheme: "admin:secret@10.0.0.5". A drive's letter is no user.
_BARE_LOGIN = re.compile(r"(?<![\w/@:])[^\s/\\:@\"'(]+:[^\s/\\@\"']+@(?=[\w.-]+)")


def without_secrets(text: str) -> str:
    """A text with the secrets of all addresses in it hidden; paths of files stay as they are.

        >>> from transpose_sdk.without_secrets import without_secrets
        >>> without_secrets("cannot read rtsp://admin:secret@10.0.0.5:554/h264?token=abc&channel=1")
        'cannot read rtsp://***@10.0.0.5:554/h264?token=***&channel=1'
        >>> without_secrets("clips/me@home.mp4")
        'clips/me@home.mp4'

    Args:
        text: A source as the user gave it, or a sentence that has one in it.
    """
    if "://" in text:
        text = _ADDRESS.sub(lambda found: _address(found[0]), text)
    return _BARE_LOGIN.sub(f"{HIDDEN}@", text) if "@" in text and ":" in text else text


def has_secrets(text: str) -> bool:
    """Whether `without_secrets` would hide something."""
    return without_secrets(text) != text


def _address(address: str) -> str:
    scheme, _, rest = address.partition("://")
    if scheme.lower() == "file":
        return address
    rest = _without_login(rest)
    rest, mark, fragment = rest.partition("#")
    path, question, query = rest.partition("?")
    path = _AFTER_ITS_NAME.sub(rf"\1{HIDDEN}", _IN_PATH.sub(rf"\1{HIDDEN}", path))
    return f"{scheme}://{path}{question}{_without_values(query)}{mark}{_without_values(fragment)}"


def _without_login(rest: str) -> str:
    """An address behind its scheme, without user and password.

    They end at the last "@" in front of the path; where what stands there is no host with a port, the password itself
    has a "/", "?" or "#" in it, and the next "@" ends it.
    """
    end = min((place for sign in "/?#" if (place := rest.find(sign)) >= 0), default=len(rest))
    if "@" in rest[:end]:
        return f"{HIDDEN}@{rest[rest.rindex('@', 0, end) + 1 :]}"
    host, colon, port = rest[:end].rpartition(":")
    behind = rest[rest.rindex("@") + 1 :] if "@" in rest else ""
    if behind and colon and "[" not in host and (not port.isdecimal() or _IP_ADDRESS.match(behind)):
        return f"{HIDDEN}@{behind}"
    return rest


def _without_values(query: str) -> str:
    """Options with the values of those hidden that may be secrets."""
    parts = re.split(r"([&;])", query)
    return "".join(_option(part) for part in parts)


def _option(part: str) -> str:
    name, equals, value = part.partition("=")
    if equals and value and (_SECRET.search(unquote(name)) or _looks_drawn(value)):
        return f"{name}={HIDDEN}"
    if not equals and _looks_drawn(part):
        return HIDDEN
    return _IN_PATH.sub(rf"\1{HIDDEN}", part)


def _looks_drawn(value: str) -> bool:
    """Whether a value is long and of letters and digits mixed, as keys are that somebody drew."""
    return len(value) >= 16 and bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))
