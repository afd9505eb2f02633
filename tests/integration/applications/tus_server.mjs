// The reference server of tus in Node, on a port of 127.0.0.1, with the path that Galaxy has for it.
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [port, directory] = process.argv.slice(2);
const server = new Server({
  path: "/api/upload/resumable_upload",
  datastore: new FileStore({ directory }),
  respectForwardedHeaders: true,
});
server.listen({ host: "127.0.0.1", port: Number(port) });
