"""The airspeed-velocity suite; see README.md here."""
