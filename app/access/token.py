"""The text of a key: `ol_<id>_<secret>`. The id finds its row; of the secret only a digest is kept.

The secret has 256 random bits, so that a plain SHA-256 cannot be guessed back, and checking one takes a microsecond.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

DIGEST_BYTES = 32

_TOKEN = re.compile(r"ol_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


class Token(NamedTuple):
    """A key as its holder sends it."""

    key_id: str
    secret: str

    @classmethod
    def new(cls) -> "Token":
        """A key that nobody has yet."""
        return cls(secrets.token_hex(6), secrets.token_urlsafe(32))

    @property
    def digest(self) -> bytes:
        """What is kept of the secret."""
        return hashlib.sha256(self.secret.encode("ascii")).digest()

    def __str__(self) -> str:
        return f"ol_{self.key_id}_{self.secret}"


def parse(text: str) -> Token | None:
    """The key in a text, if it has the form of one."""
    found = _TOKEN.fullmatch(text)
    return Token(found[1], found[2]) if found is not None else None
