"""Uploads a file by tuspy, in pieces and with a break; says where it is and how long it took."""

from __future__ import annotations

import json
import sys
import time

from tusclient.client import TusClient

url, file, piece = sys.argv[1:4]
began = time.monotonic()
client = TusClient(url)
uploader = client.uploader(file, chunk_size=int(piece), metadata={"filename": "reads.bam"})
uploader.upload_chunk()
# Somebody who has lost the connection asks how far it is (HEAD), and goes on.
again = client.uploader(file, chunk_size=int(piece), url=uploader.url)
resumed = again.offset
again.upload()
print(json.dumps({"url": again.url, "resumed": resumed, "seconds": time.monotonic() - began}))
