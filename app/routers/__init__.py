"""The HTTP surface: thin handlers that say what a call takes and gives, and hand it to a service."""
