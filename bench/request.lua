-- The load for wrk. Script arguments: "post" and a file of bodies (one a line, sent in turn),
-- or "get" and a file of run ids (one a line, asked for at random).
-- The last line of the output is the result in JSON; times are in microseconds.

local requests = {}
local next_request = 0

function init(arguments)
  local kind, path = arguments[1], arguments[2]
  for line in io.lines(path) do
    if kind == "post" then
      requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json",
        ["Host"] = wrk.headers["Host"]}, line)
    else
      requests[#requests + 1] = line
    end
  end
  if kind == "get" then
    get_at_random()
  end
end

function get_at_random()
  local before = "GET " .. wrk.path .. "/"
  local behind = " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\n\r\n"
  local count = #requests
  math.randomseed(20251217)
  request = function()
    return before .. requests[math.random(count)] .. behind
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_us":%.0f,"p90_us":%.0f,"p99_us":%.0f,"max_us":%.0f,'
      .. '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency.max, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
