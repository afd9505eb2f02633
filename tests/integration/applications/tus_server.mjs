// The reference server of tus in Node, on a port of 127.0.0.1, with the path that Galaxy has for it.
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

// Counts what it gets and keeps none of it: for uploads that no disk here has room for.
class Counting extends FileStore {
  sizes = new Map();

  async write(readable, id, offset) {
    for await (const chunk of readable) offset += chunk.length;
    this.sizes.set(id, offset);
    return offset;
  }

  async getUpload(id) {
    const upload = await super.getUpload(id);
    upload.offset = this.sizes.get(id) ?? 0;
    return upload;
  }
}

const [port, directory, keep] = process.argv.slice(2);
const server = new Server({
  path: "/api/upload/resumable_upload",
  datastore: keep === "no" ? new Counting({ directory }) : new FileStore({ directory }),
  respectForwardedHeaders: true,
});
server.listen({ host: "127.0.0.1", port: Number(port) });
