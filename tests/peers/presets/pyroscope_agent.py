"""pyroscope_agent.py URL KEY: a busy program that Pyroscope's own agent profiles, until it has pushed."""

import sys
import time

import pyroscope

url, key = sys.argv[1:]
headers = {"authorization": f"Bearer {key}"}
pyroscope.configure(application_name="busy", server_address=url, http_headers=headers, upload_interval=1)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    sum(range(1000))
pyroscope.shutdown()  # pushes what is left
