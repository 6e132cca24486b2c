#!/usr/bin/env python3
import json
import os

told = os.environ.get
print("content-type: application/json\n")
print(json.dumps({
    "method": told("REQUEST_METHOD"), "script": told("SCRIPT_NAME", ""), "path": told("PATH_INFO", ""), "query": told("QUERY_STRING", ""),
    "type": told("CONTENT_TYPE") or told("HTTP_CONTENT_TYPE") or "", "length": told("CONTENT_LENGTH") or told("HTTP_CONTENT_LENGTH") or "",
    "key": told("HTTP_X_API_KEY", ""), "who": told("HTTP_X_AUTH_USER", "") + told("REMOTE_USER", ""), "scheme": told("REQUEST_SCHEME"), "host": told("HTTP_HOST"), "client": told("REMOTE_ADDR"),
}))
