import { createServer } from "node:net";
import { Session } from "../../agent/spop/session.ts";

// An agent that only does the handshake and acknowledges: measures the cost of HAProxy, the kernel and Node themselves.
// Argument: the port to listen on.

createServer({ noDelay: true }, (socket) => {
  const session = new Session(16 * 1024 * 1024);
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    const reply = session.receive(chunk);
    session.takeNotifies(() => {});
    if (reply.length > 0) socket.write(reply);
    if (session.end) socket.end();
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
