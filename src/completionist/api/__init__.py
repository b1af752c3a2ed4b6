"""HTTP: everything between the socket and the chat service; the only package that knows Starlette and uvicorn."""
