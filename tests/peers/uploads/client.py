"""Uploads with a key that is nobody's; prints what each client of Python's understood."""

import http.client
import sys

import requests

host, rounds = sys.argv[1], int(sys.argv[2])
key = {"Authorization": "Bearer dw_s_wrong"}
body = b"x" * (1 << 20)


def pieces():
    for _ in range(16):
        yield body[:65536]


for _ in range(rounds):
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request("PUT", "/data", body=body, headers=key)
    answer = connection.getresponse()
    print("http.client", answer.status, "invalid-key" in answer.read().decode())
    connection.close()
    for name, data in [("requests", body), ("requests-chunked", pieces())]:
        answer = requests.put(f"http://{host}/data", data=data, headers=key, timeout=20)
        print(name, answer.status_code, "invalid-key" in answer.text)
