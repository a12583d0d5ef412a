"""What schemathesis learns of this service's media types: these are texts, sent as they are."""

import schemathesis

schemathesis.serializer.alias(["application/csv", "application/x-ndjson", "application/jsonl"], "text/plain")
