-- Asks for the sixteen bodies of one size in turn.
local size, n = os.getenv("BODY"), 0
request = function()
    n = (n + 1) % 16
    return wrk.format("GET", "/bodies/" .. size .. "-" .. n .. ".bin")
end
