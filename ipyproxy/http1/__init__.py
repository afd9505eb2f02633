"""HTTP/1.1 as pure code: heads, framing and fields; bytes in, values and bytes out."""
