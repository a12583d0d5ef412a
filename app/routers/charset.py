"""The charset of a media type: another way to say which encoding a text has."""

from python_multipart.multipart import parse_options_header

from app.datasets.readers.csv_encoding import codec_of
from app.errors import Fault, InvalidRequest


def encoding_said(media_type: str, option: str | None) -> str | None:
    """The encoding that a client names by an option, by the charset of the text's media type, or by both alike."""
    _, parameters = parse_options_header(media_type)
    charset = parameters.get(b"charset", b"").decode("latin-1")
    if not charset:
        return option
    codec = codec_of(charset, "Content-Type")
    if option is not None and codec_of(option) != codec:
        message = f"the Content-Type says charset={charset}; say the same in both places, or leave one out"
        raise InvalidRequest(Fault("encoding", message))
    return charset
