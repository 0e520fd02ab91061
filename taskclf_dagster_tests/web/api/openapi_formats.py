"""Values for the formats of the OpenAPI document that are not those of JSON Schema; schemathesis loads this module."""

import schemathesis
from hypothesis import strategies as st

CRON_LINES = ["0 6 * * *", "*/15 8-18 * * MON-FRI", "30 5 1,15 * *"]
TIME_ZONES = ["UTC", "Europe/Vienna", "America/New_York"]

schemathesis.openapi.format("cron", st.sampled_from(CRON_LINES))
schemathesis.openapi.format("iana-time-zone", st.sampled_from(TIME_ZONES))
