"""write_spans.py PROTOCOL ENDPOINT PROJECT KEYFILE STOPFILE: sends one span after the other, each by itself and never
again, until STOPFILE is there; takes the API key from KEYFILE as soon as that holds one. Prints what became of them
as JSON: {"sent": .., "lost": .., "with_key": ..}."""

import json
import os
import sys
import time

from openinference.semconv.resource import ResourceAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

protocol, endpoint, project, key_file, stop_file = sys.argv[1:]


def exporter(key):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=endpoint, insecure=True, headers=tuple(headers.items()))
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint, headers=headers)


class Counting(SpanExporter):
    """Sends with the newest key, and counts."""

    def __init__(self):
        self.key, self.inner = "", exporter("")
        self.count = {"sent": 0, "lost": 0, "with_key": 0}

    def export(self, spans):
        try:
            with open(key_file, encoding="utf-8") as file:
                key = file.read().strip()
        except FileNotFoundError:
            key = ""
        if key != self.key:
            self.inner.shutdown()
            self.key, self.inner = key, exporter(key)
        result = self.inner.export(spans)
        self.count["sent"] += len(spans)
        self.count["with_key"] += len(spans) if self.key else 0
        self.count["lost"] += 0 if result == SpanExportResult.SUCCESS else len(spans)
        return result

    def shutdown(self):
        self.inner.shutdown()


counting = Counting()
provider = TracerProvider(resource=Resource({ResourceAttributes.PROJECT_NAME: project}))
provider.add_span_processor(SimpleSpanProcessor(counting))
tracer = provider.get_tracer("peers")
while not os.path.exists(stop_file):
    with tracer.start_as_current_span("llm-call") as span:
        span.set_attribute("openinference.span.kind", "LLM")
    time.sleep(0.05)
provider.shutdown()
print(json.dumps(counting.count), flush=True)
