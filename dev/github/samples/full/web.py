"""Serves what install has built, and /healthz."""

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"ok\n")
        else:
            super().do_GET()


if __name__ == "__main__":
    print("listening on 8080", flush=True)
    ThreadingHTTPServer(("127.0.0.1", 8080), lambda *a: Handler(*a, directory="build")).serve_forever()
