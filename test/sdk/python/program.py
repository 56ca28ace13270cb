"""The SDK program in Python, on dapr as PyPI ships it. See ../README.md."""

import sys

import apps
import checks
import jobs

if __name__ == "__main__":
    role = sys.argv[1]
    if role == "http":
        apps.serve_http()
    elif role == "grpc":
        apps.serve_grpc()
    else:
        checks.run()
        jobs.run()
