-- wrk, for each of its scripts here: what a load came to, as drivers.py reads it.

function refused() return 0 end  -- answers that were no error to wrk: a script may count them

function done(summary, latency, requests)
  local errors = summary.errors
  print("bench requests " .. summary.requests)
  print("bench seconds " .. summary.duration / 1e6)
  print("bench failed " .. errors.connect + errors.read + errors.write + errors.status + errors.timeout + refused())
  print("bench p50 " .. latency:percentile(50) / 1000)
  print("bench p99 " .. latency:percentile(99) / 1000)
  print("bench p999 " .. latency:percentile(99.9) / 1000)
end
