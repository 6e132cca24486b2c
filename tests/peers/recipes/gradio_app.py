"""A Gradio application with one function. `gradio_app.py PORT`"""

import sys

import gradio

gradio.Interface(fn=lambda name: f"Hello {name}", inputs="text", outputs="text", api_name="greet").launch(
    server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True
)
