-- One target again and again, with the fields of a browser that are read for a file.

wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
  .. "Chrome/140.0.0.0 Safari/537.36"
wrk.headers["Accept"] = "*/*"
wrk.headers["Accept-Language"] = "en-GB,en;q=0.9,de;q=0.8"
wrk.headers["Sec-Fetch-Site"] = "same-origin"
wrk.headers["Cookie"] = "galaxysession=c6ca0ddb55be603a1b8d5f0e6a2d4c3b9f8e7a6d5c4b3a29"

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"seconds": %.6f, "requests": %d, "p50_us": %.1f, "p99_us": %.1f, "refused": %d, "broken": %d}\n',
    summary.duration / 1e6, summary.requests, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
