// Stands in for the Node package sqlite3, which would have to be compiled: Python reads the rows.
// For gx-it-proxy, which opens a file, reads all rows of one statement, and closes it.
const { spawnSync } = require("child_process");
const Module = require("module");

const PROGRAM = `
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.row_factory = sqlite3.Row
print(json.dumps([dict(row) for row in connection.execute(sys.argv[2])]))
`;

class Database {
  constructor(path, opened) {
    this.path = path;
    setImmediate(opened, null);
  }

  each(statement, row, done) {
    const most = { maxBuffer: 1 << 30 };
    const read = spawnSync("python3", ["-c", PROGRAM, this.path, statement], most);
    for (const found of JSON.parse(String(read.stdout) || "[]")) row(null, found);
    done();
  }

  close() {}
}

const load = Module._load;
Module._load = function (name, ...rest) {
  return name === "sqlite3" ? { Database } : load.call(this, name, ...rest);
};
