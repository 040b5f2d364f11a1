#!/usr/bin/env python3
"""A tool: a short report of a city. {"city": "Lisbon"} on standard input, {"city": "Lisbon", "time": "14:05"} on standard output."""
import datetime
import json
import sys
import zoneinfo

city = json.load(sys.stdin)["city"]
wanted = city.replace(" ", "_").lower()
zones = [z for z in zoneinfo.available_timezones() if z.split("/")[-1].lower() == wanted]
if not zones:
    sys.exit(f"There is no time zone named after {city}.")
now = datetime.datetime.now(zoneinfo.ZoneInfo(sorted(zones)[0]))
print(json.dumps({"city": city, "time": now.strftime("%H:%M")}))
