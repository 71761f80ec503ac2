"""What the model sees. Everything here is in the timetable, so it is known before departure."""

CATEGORIES = ["carrier", "origin", "dest"]
NUMBERS = ["distance", "weekday", "departure", "arrival"]
FEATURES = CATEGORIES + NUMBERS
TARGET = "late"
