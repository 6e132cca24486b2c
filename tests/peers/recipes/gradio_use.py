"""Uses the application with Gradio's own client. `gradio_use.py URL`; the key is in KEY."""

import os
import sys

from gradio_client import Client

client = Client(sys.argv[1], headers={"Authorization": f"Bearer {os.environ['KEY']}"}, verbose=False)
print(client.predict("vera", api_name="/greet"))
