"""The papers' figures: functions from arrays to matplotlib figures, and `permtrain plot`."""
