-- wrk: events as the guide's clients send them; every one is new (its own timestamp).
-- Arguments: sessions with commas between (single events go through them in turn), first timestamp (microseconds of a
-- day), mean pause between a connection's requests (ms), events a request (1: an object; more: an array, whose events differ in session, type and numbers).
local types = { "consulta", "configuracion", "troubleshooting", "pipeline", "infraestructura", "monitoreo", "seguridad" }
local threads = {}
local pause = 0
local today = os.date("!%Y-%m-%d")  -- what is older arrives late, and costs more

function setup(thread)
  thread:set("id", #threads)
  threads[#threads + 1] = thread
end

function init(args)
  counter, partial = 0, 0
  base = tonumber(args[2])
  pause = tonumber(args[3] or "0")
  size = tonumber(args[4] or "1")
  local sessions = {}
  for session in args[1]:gmatch("[^,]+") do sessions[#sessions + 1] = session end
  heads = {}
  kinds = size > 1 and size or #sessions
  for i = 0, kinds - 1 do
    heads[i] = '{"sesion_id":"' .. sessions[i % #sessions + 1] .. '","tipo":"' .. types[i % #types + 1] .. '",'
      .. '"contenido":"¿Cómo configuro un pipeline CI/CD con Docker?","latency_ms":' .. 300 + (1200 + i * 37) % 5000
      .. ',"tokens_entrada":' .. 25 + i % 60 .. ',"tokens_salida":' .. 150 + i % 400 .. ',"timestamp":"' .. today .. 'T'
  end
  headers = { ["Content-Type"] = "application/json" }
  if pause > 0 then
    -- Spread: equal pauses would make the connections one burst that comes again and again.
    delay = function() return math.random(0, 2 * pause) end
  end
  if size > 1 then
    -- A batch that is taken in part (207) is no error to wrk.
    response = function(status) if status == 207 then partial = partial + 1 end end
  end
end

local function event(head)
  counter = counter + 1
  local n = base + counter * 4 + id
  local micros = n % 1000000
  local s = math.floor(n / 1000000)
  return head .. string.format('%02d:%02d:%02d.%06dZ"}', math.floor(s / 3600) % 24, math.floor(s / 60) % 60, s % 60, micros)
end

function request()
  if size == 1 then return wrk.format("POST", nil, headers, event(heads[counter % kinds])) end
  local events = {}
  for i = 0, size - 1 do events[i + 1] = event(heads[i]) end
  return wrk.format("POST", nil, headers, "[" .. table.concat(events, ",") .. "]")
end

function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  for _, thread in ipairs(threads) do failed = failed + thread:get("partial") end
  print("bench requests " .. summary.requests)
  print("bench seconds " .. summary.duration / 1e6)
  print("bench failed " .. failed)
  print("bench p50 " .. latency:percentile(50) / 1000)
  print("bench p99 " .. latency:percentile(99) / 1000)
  print("bench p999 " .. latency:percentile(99.9) / 1000)
end
