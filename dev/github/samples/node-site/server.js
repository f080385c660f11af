// Serves public/ and tells open pages to reload when something in it changes.
const fs = require("fs");
const http = require("http");
const path = require("path");
const greeting = require("greeting");

const PORT = Number(process.env.PORT || 3000);
const ROOT = path.join(__dirname, "public");
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript" };
const RELOAD = '<script>new EventSource("/__reload").onmessage = () => location.reload()</script>';
const open = new Set();

const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  if (url.pathname === "/__reload") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write("retry: 500\n\n");
    open.add(response);
    request.on("close", () => open.delete(response));
    return;
  }
  const file = path.join(ROOT, url.pathname === "/" ? "index.html" : path.normalize(url.pathname));
  fs.readFile(file, (error, content) => {
    if (error) {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not found\n");
      return;
    }
    const type = TYPES[path.extname(file)] || "application/octet-stream";
    response.writeHead(200, { "content-type": type, "cache-control": "no-store" });
    response.end(type.startsWith("text/html") ? content.toString().replace("{{greeting}}", greeting("node-site")) + RELOAD : content);
  });
});

fs.watch(ROOT, (event, name) => {
  console.log(`changed: ${name}`);
  for (const response of open) response.write("data: reload\n\n");
});

server.listen(PORT, "127.0.0.1", () => console.log(`ready on http://localhost:${PORT}`));
