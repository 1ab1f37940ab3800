"""The rows of the small repository and what is asked of it. Plain values: Feast's Python and Tidemill's read them alike.

The latest rows of drivers 1 to 3 are within their ttl at `NOW`, those of driver 4 are not. Driver 1 has a row that was
corrected (the same event time, created later), and driver 3 one without values.
"""

NOW = "2024-05-03T12:00:00"
COLUMNS = {
    "driver_stats": ("driver_id", "event_timestamp", "created", "conv_rate", "trips", "zone", "on_shift"),
    "driver_ratings": ("driver_id", "rated_at", "stars_given", "votes"),
}
TIMES = ("event_timestamp", "created", "rated_at")
ROWS = {
    "driver_stats": [
        (1, "2024-05-03T09:00:00", "2024-05-03T09:05:00", 0.25, 4, "north", True),
        (1, "2024-05-03T10:00:00", "2024-05-03T10:05:00", 0.5, 6, "north", True),
        (1, "2024-05-03T11:00:00", "2024-05-03T11:40:00", 0.75, 9, "south", False),
        (1, "2024-05-03T11:00:00", "2024-05-03T11:05:00", 0.7, 8, "south", False),
        (2, "2024-05-03T10:00:00", "2024-05-03T10:05:00", 0.125, 2, "west", True),
        (2, "2024-05-03T11:30:00", "2024-05-03T11:35:00", 0.375, 3, "west", True),
        (3, "2024-05-03T10:30:00", "2024-05-03T10:35:00", 0.9, 10, "east", False),
        (3, "2024-05-03T11:15:00", "2024-05-03T11:20:00", None, 7, None, None),
        (4, "2024-05-03T08:00:00", "2024-05-03T08:05:00", 0.6, 5, "north", True),
    ],
    "driver_ratings": [
        (1, "2024-05-01T00:00:00", 4.5, 10),
        (1, "2024-05-02T12:00:00", 4.75, 12),
        (2, "2024-05-02T00:00:00", 3.5, 4),
        (3, "2024-05-01T12:00:00", 5.0, 1),
        (3, "2024-05-03T11:00:00", 4.0, 2),
        (4, "2024-04-01T00:00:00", 2.0, 30),
    ],
}

# What is asked for the past.
ASKED = [
    (1, "2024-05-03T11:00:00", 12.0, 20.0),  # the event at the moment itself counts, corrected
    (1, "2024-05-03T10:59:59", 45.0, 30.0),
    (1, "2024-05-03T12:59:59", 3.0, 50.0),
    (1, "2024-05-03T13:00:00", 3.0, 45.0),  # as old as the ttl to the microsecond
    (2, "2024-05-03T11:45:00", 30.0, 44.0),
    (2, "2024-05-03T10:00:00", 31.0, 10.0),
    (3, "2024-05-03T11:10:00", 7.5, 15.0),
    (3, "2024-05-03T11:59:00", 8.0, 16.0),  # the newest row has no values
    (9, "2024-05-03T11:00:00", 10.0, 10.0),  # an unknown driver
]
# Feast leaves these rows out (feast issues 5590 and 6787): the view has future rows only, or expired ones only.
LEFT_OUT = [
    (2, "2024-05-03T09:00:00", 10.0, 10.0),
    (4, "2024-05-03T11:00:00", 10.0, 10.0),
]
# What is asked for now. Driver 4's values expired: Feast answers with them all the same (issues 1802 and 6821).
ASKED_NOW = [(1, 12.0, 20.0), (2, 45.0, 30.0), (3, 7.5, 45.0), (4, 10.0, 10.0), (9, 10.0, 10.0)]
REQUEST = ("km", "minutes")
