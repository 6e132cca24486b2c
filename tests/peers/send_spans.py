"""send_spans.py PROJECT PROTOCOL=ENDPOINT...: one span per endpoint, as an application instrumented with
arize-phoenix-otel sends it; the API key comes from PHOENIX_API_KEY, as in its documentation."""

import sys

from phoenix.otel import register

project, *targets = sys.argv[1:]
for target in targets:
    protocol, endpoint = target.split("=", 1)
    provider = register(
        project_name=f"{project}-{protocol.split('/')[0]}",
        endpoint=endpoint,
        protocol=protocol,
        set_global_tracer_provider=False,
        verbose=False,
    )
    with provider.get_tracer("peers").start_as_current_span("llm-call") as span:
        span.set_attribute("openinference.span.kind", "LLM")
        span.set_attribute("input.value", "hello")
    provider.shutdown()
