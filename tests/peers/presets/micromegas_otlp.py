"""micromegas_otlp.py URL [KEY]: OpenTelemetry's own exporter sends a span; what came of it."""

import sys

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

url, *key = sys.argv[1:]
exporter = OTLPSpanExporter(
    endpoint=f"{url}/ingestion/otlp/v1/traces",
    headers={"Authorization": f"Bearer {key[0]}"} if key else {},
    timeout=10,
)
results = []
export = exporter.export
exporter.export = lambda spans: results.append(export(spans)) or results[-1]
provider = TracerProvider(resource=Resource.create({"service.name": "peer-of-otlp"}))
provider.add_span_processor(SimpleSpanProcessor(exporter))
provider.get_tracer("peer").start_span("work").end()
print("sent" if results == [SpanExportResult.SUCCESS] else "refused")
