-- What a browser with a notebook open sends: about twenty fields, no two requests alike. The target
-- changes every time, and so does If-None-Match; Referer changes from time to time. The body is
-- asked for afresh every time, for no entity tag is ever the right one.

local before, after, count = "", "", 0

function init(args)
  local port, prefix = args[1], args[2]
  before = "GET " .. prefix .. "api/contents/notebooks/analysis-"
  after = table.concat({
    " HTTP/1.1",
    "Host: localhost:" .. port,
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
      .. "Chrome/140.0.0.0 Safari/537.36",
    "Accept: application/json, text/javascript, */*; q=0.01",
    "X-Requested-With: XMLHttpRequest",
    "X-XSRFToken: 2|8f1c7a40|0d5c3f6e9b2a4187c6d0e5f1a3b29c84|1760000000",
    "Content-Type: application/json",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control: no-cache",
    "Pragma: no-cache",
    "Cookie: galaxysession=c6ca0ddb55be603a1b8d5f0e6a2d4c3b9f8e7a6d5c4b3a29; "
      .. "_xsrf=2|8f1c7a40|0d5c3f6e9b2a4187c6d0e5f1a3b29c84|1760000000; "
      .. 'username-localhost-8888="2|1:0|10:1760000000|23:username-localhost-8888|'
      .. '44:M2Q4YTc5ZjUxYjRkNGM4Y2E2ODkwZTYzYTQ3ZjJlZGQ=|8d2f6b1c9e0a47d3"',
    "Referer: https://localhost:" .. port .. prefix .. "notebooks/analysis-",
  }, "\r\n")
end

function request()
  count = count + 1
  return before .. count % 100 .. ".ipynb?content=0&_=" .. 1760000000000 + count .. after
    .. math.floor(count / 64) % 100 .. '.ipynb\r\nIf-None-Match: "' .. 7919 * count .. '"\r\n\r\n'
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"seconds": %.6f, "requests": %d, "p50_us": %.1f, "p99_us": %.1f, "refused": %d, "broken": %d}\n',
    summary.duration / 1e6, summary.requests, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
