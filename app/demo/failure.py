"""The one error of the demo: something did not go as the story tells it, with a text for the reader."""


class DemoFailed(Exception):
    """The demo cannot go on; the text says why."""
