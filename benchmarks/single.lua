-- wrk: one event a request, as the guide's clients send it; every one is new (its own timestamp).
-- Arguments: session, first timestamp (microseconds of a day), mean pause between a connection's requests (ms).
local thread_no = 0
local pause = 0

function setup(thread)
  thread:set("id", thread_no)
  thread_no = thread_no + 1
end

function init(args)
  counter = 0
  base = tonumber(args[2])
  pause = tonumber(args[3] or "0")
  head = '{"sesion_id":"' .. args[1] .. '","tipo":"consulta","contenido":"¿Cómo configuro un pipeline CI/CD con Docker?",'
    .. '"latency_ms":1500,"tokens_entrada":25,"tokens_salida":150,"timestamp":"2026-11-22T'
  headers = { ["Content-Type"] = "application/json" }
  if pause > 0 then
    -- Spread: equal pauses would make the connections one burst that comes again and again.
    delay = function() return math.random(0, 2 * pause) end
  end
end

function request()
  counter = counter + 1
  local n = base + counter * 4 + id
  local micros = n % 1000000
  local s = math.floor(n / 1000000)
  local stamp = string.format('%02d:%02d:%02d.%06dZ"}', math.floor(s / 3600) % 24, math.floor(s / 60) % 60, s % 60, micros)
  return wrk.format("POST", nil, headers, head .. stamp)
end

function done(summary, latency, requests)
  local errors = summary.errors
  print("bench requests " .. summary.requests)
  print("bench seconds " .. summary.duration / 1e6)
  print("bench failed " .. errors.connect + errors.read + errors.write + errors.status + errors.timeout)
  print("bench p50 " .. latency:percentile(50) / 1000)
  print("bench p99 " .. latency:percentile(99) / 1000)
  print("bench p999 " .. latency:percentile(99.9) / 1000)
end
