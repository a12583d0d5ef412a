"""The encoding of a CSV file: declared, or found in its first bytes; and its text as UTF-8, which is what is parsed."""

import codecs
from pathlib import Path
from typing import Any

from app.errors import Fault, InvalidData, InvalidRequest, TooLarge

HEAD_BYTES = 1 << 16
NOT_UTF8 = "not UTF-8 text; save the file as UTF-8, or say which encoding it has"
_CHUNK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii", "mac-roman", "koi8-r"),
        *(f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
        *(f"windows-{page}" for page in (1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)),
        *("cp437", "cp850", "shift_jis", "cp932", "euc-jp", "gbk", "gb18030", "big5", "euc-kr"),
    )
)

_LATIN_1 = codecs.lookup("latin-1").name
_CHARACTERS = "".join(bytes([code]).decode("windows-1252", "ignore") or chr(code) for code in range(256))


class _Latin1(codecs.IncrementalDecoder):
    """Latin-1 as browsers read it: in place of its control characters are those of Windows-1252, such as the euro."""

    def decode(self, input: Any, final: bool = False) -> str:  # noqa: A002 - as the base class names it
        return codecs.charmap_decode(input, "strict", _CHARACTERS)[0]


def as_utf8(path: Path, declared: str | None, limit: int) -> tuple[Path, str]:
    """The file where it is UTF-8, else a copy of at most `limit` bytes beside it that is; and the encoding it had."""
    with path.open("rb") as file:
        encoding = encoding_of(file.read(HEAD_BYTES), declared)
    return (path if encoding in ("utf-8", "ascii") else _transcoded(path, encoding, limit)), encoding


def text_as_utf8(body: bytes, declared: str | None) -> bytes:
    """Bytes in memory as UTF-8."""
    encoding = encoding_of(body[:HEAD_BYTES], declared)
    if encoding in ("utf-8", "ascii"):
        return body
    return _decoded(_decoder(encoding), body, 1, final=True).encode()


def encoding_of(head: bytes, declared: str | None) -> str:
    """The codec that is declared, else the one of the byte order mark, else UTF-16 if it can be no other, or UTF-8.

    The mark of UTF-8 wins over what is declared: no text in another encoding begins with these bytes.
    """
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if declared is None:
        return marked or _unmarked(head)
    encoding = codec_of(declared)
    if encoding.startswith(("utf-16", "utf-32")):
        # A line's end has a byte that is zero in all of these, and in no other encoding.
        if head and b"\0" not in head:
            message = f"the file is not {declared}; leave the encoding out, or say which one it has"
            raise InvalidData(Fault("encoding", message))
        if encoding in ("utf-16", "utf-32") and marked != encoding:
            found = _unmarked(head)
            return found if found.startswith(encoding) else f"{encoding}-le"
    elif marked == "utf-8":
        return marked
    return encoding


def codec_of(declared: str, location: str = "encoding") -> str:
    """The codec of an encoding that a client names, at a place of its request."""
    try:
        name = codecs.lookup(declared).name
    except (LookupError, ValueError):
        name = ""
    name = "utf-8" if name == "utf-8-sig" else name
    if name not in _ENCODINGS:
        known = ", ".join(sorted(_ENCODINGS))
        raise InvalidRequest(Fault(location, f"{declared!r} is not read here; the encodings are {known}"))
    return name


def _unmarked(head: bytes) -> str:
    """UTF-16 without a mark has a zero in most of its pairs, always on the same side; UTF-8 has none."""
    first, second, pairs = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if second > pairs / 2 and second > 10 * first:
        return "utf-16-le"
    return "utf-16-be" if first > pairs / 2 and first > 10 * second else "utf-8"


def _transcoded(path: Path, encoding: str, limit: int) -> Path:
    """A copy in UTF-8 beside the file, written piece by piece."""
    target = path.with_name(path.name + ".utf8")
    decoder = _decoder(encoding)
    line, written = 1, 0
    with path.open("rb") as source, target.open("wb") as sink:
        while chunk := source.read(_CHUNK):
            text = _decoded(decoder, chunk, line)
            line += text.count("\n")
            written += sink.write(text.encode())
            if written > limit:
                raise TooLarge(f"file is larger than {limit} bytes as UTF-8.")
        sink.write(_decoded(decoder, b"", line, final=True).encode())
    return target


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    return _Latin1() if encoding == _LATIN_1 else codecs.getincrementaldecoder(encoding)()


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes, line: int, final: bool = False) -> str:
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        at = line + error.object[: error.start].decode(error.encoding, "replace").count("\n")
        message = f"not {error.encoding} text; say which encoding it has"
        raise InvalidData(Fault(f"line {at}", message)) from error
